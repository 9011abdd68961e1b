"""The object meshes of S scenes in one set of arrays, with the edges that may become outlines.

Legend: N_s vertices of scene s, N all of them one after the other, F faces, E edges of all scenes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.fitting.clustering import few_faces
from interactvlm.fitting.poses import Poses

__all__ = ["PackedMeshes"]


@dataclass(frozen=True, slots=True, eq=False)
class PackedMeshes:
    """Meshes of S scenes; indices count through all scenes.

    Attributes:
        counts: N_s by scene.
        vertices: float [N, 3], the object's own frame, metres.
        faces: int64 [F, 3].
        edges: int64 [E, 2].
        opposite: int64 [E, 2], the third vertices of an edge's two faces; the second is -1 where an edge does not
            have exactly two faces, and may be an outline from everywhere.
        face_scene: int64 [F].
        edge_scene: int64 [E].
    """

    counts: tuple[int, ...]
    vertices: Tensor
    faces: Tensor
    edges: Tensor
    opposite: Tensor
    face_scene: Tensor
    edge_scene: Tensor

    @classmethod
    def pack(
        cls, meshes: Sequence[tuple[NDArray[np.floating], NDArray[np.integer]]], *, dtype: torch.dtype = torch.float32
    ) -> PackedMeshes:
        """Join meshes given as (vertices, faces [F_s, 3]), which `clustering.few_faces` makes small enough first."""
        counts, vertices, faces, edges, opposite, face_scene, edge_scene = [], [], [], [], [], [], []
        offset = 0
        for scene, (own_vertices, own_faces) in enumerate(meshes):
            # Exported meshes repeat vertices along seams of colour or texture: there, every edge would look like a rim.
            unique, triangles = few_faces(own_vertices, own_faces)
            ends, third = _edges(triangles)
            counts.append(len(unique))
            vertices.append(unique)
            faces.append(triangles + offset)
            edges.append(ends + offset)
            opposite.append(np.where(third < 0, -1, third + offset))
            face_scene.append(np.full(len(triangles), scene))
            edge_scene.append(np.full(len(ends), scene))
            offset += len(unique)
        return cls(
            tuple(counts),
            torch.as_tensor(np.concatenate(vertices), dtype=dtype),
            *(
                torch.as_tensor(np.concatenate(parts), dtype=torch.int64)
                for parts in (faces, edges, opposite, face_scene, edge_scene)
            ),
        )

    def select(self, scenes: Sequence[int]) -> PackedMeshes:
        """Only these scenes, in this order."""
        starts = np.concatenate([[0], np.cumsum(self.counts)])
        parts: list[tuple[Tensor, ...]] = []
        offset = 0
        for place, scene in enumerate(scenes):
            low, high = int(starts[scene]), int(starts[scene + 1])
            of_face, of_edge = self.face_scene == scene, self.edge_scene == scene
            shift = offset - low
            third = self.opposite[of_edge]
            edges = self.edges[of_edge] + shift
            parts.append(
                (
                    self.vertices[low:high],
                    self.faces[of_face] + shift,
                    edges,
                    torch.where(third < 0, third, third + shift),
                    torch.full_like(self.face_scene[of_face], place),
                    torch.full_like(edges[:, 0], place),
                )
            )
            offset += high - low
        return PackedMeshes(
            tuple(self.counts[scene] for scene in scenes), *(torch.cat(column) for column in zip(*parts, strict=True))
        )

    def to(self, device: torch.device | str) -> PackedMeshes:
        """The same on another device."""
        tensors = (self.vertices, self.faces, self.edges, self.opposite, self.face_scene, self.edge_scene)
        return PackedMeshes(self.counts, *(values.to(device) for values in tensors))

    def posed(self, poses: Poses) -> Tensor:
        """Vertices [K, N, 3] under poses [S, K], in the photo's frame."""
        points = self.vertices.split(self.counts)
        rows = [poses.each(lambda values, s=s: values[s]).apply(own) for s, own in enumerate(points)]  # type: ignore[misc]
        return torch.cat(rows, dim=1)


def _edges(faces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The edges [E, 2] of one mesh's faces and what lies opposite, [E, 2]; see `PackedMeshes.opposite`."""
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    third = np.concatenate([faces[:, 2], faces[:, 0], faces[:, 1]]).astype(np.int64)
    sides.sort(axis=1)
    order = np.lexsort((sides[:, 1], sides[:, 0]))
    sides, third = sides[order], third[order]
    first = np.flatnonzero(np.concatenate([[True], (sides[1:] != sides[:-1]).any(axis=1)])) if len(sides) else order
    faces_of_edge = np.diff(np.concatenate([first, [len(sides)]]))
    second = np.full(len(first), -1, dtype=np.int64)
    paired = faces_of_edge == 2
    second[paired] = third[first[paired] + 1]
    return sides[first], np.stack([third[first], second], axis=1)
