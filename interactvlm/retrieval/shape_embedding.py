"""Meshes and clouds to unit embeddings, in batches (paper section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from interactvlm.geometry.mesh import Mesh
from interactvlm.retrieval.clouds import ColouredCloud, cloud_of_mesh, turned
from interactvlm.retrieval.point_groups import normalize_cloud
from interactvlm.retrieval.segments import unit_rows
from interactvlm.retrieval.shape_encoder import ShapeEncoder

__all__ = ["ShapeEmbedder"]


class ShapeEmbedder:
    """A loaded encoder with what its clouds need before it; safe to use from several threads.

    Args:
        encoder: loaded, for inference.
        batch: clouds encoded at once.
    """

    def __init__(self, encoder: ShapeEncoder, *, batch: int = 8) -> None:
        self._encoder = encoder
        self._batch = batch

    @property
    def channels(self) -> int:
        """Length of an embedding."""
        return self._encoder.channels

    def __call__(self, shapes: Sequence[Mesh | ColouredCloud]) -> NDArray[np.float32]:
        """Unit embeddings.

        Args:
            shapes: meshes (y up, as glTF says) and clouds.

        Returns:
            float32 [N, E].

        Raises:
            InputError, MeshError: a shape has no area, or the encoder makes nothing of it.
        """
        clouds = [cloud_of_mesh(shape) if isinstance(shape, Mesh) else shape for shape in shapes]
        clouds = [turned(cloud, up=self._encoder.config.up) for cloud in clouds]
        by_size: dict[int, list[int]] = {}
        for index, cloud in enumerate(clouds):
            by_size.setdefault(len(cloud.points), []).append(index)
        found = np.zeros((len(clouds), self.channels), np.float32)
        for indices in by_size.values():
            for start in range(0, len(indices), self._batch):
                chosen = indices[start : start + self._batch]
                found[chosen] = self._embed([clouds[index] for index in chosen])
        return unit_rows(found, field="shape") if len(clouds) else found

    @torch.inference_mode()
    def _embed(self, clouds: list[ColouredCloud]) -> NDArray[np.float32]:
        device = self._encoder.class_token.device
        points, colours = (
            torch.from_numpy(np.stack(arrays)).to(device)
            for arrays in ([cloud.points for cloud in clouds], [cloud.colours for cloud in clouds])
        )
        embedded: NDArray[np.float32] = self._encoder(*normalize_cloud(points, colours)).float().cpu().numpy()
        return embedded
