"""Photos against rendered views of the catalogue's objects, by the frozen patch features of an image encoder.

Each view is a grid of compact features: the encoder's patches, whitened by what varies between the catalogue's own
renders, averaged over the object's share of each cell. A photo's crop becomes the same grid, and one matrix product
compares it with every view of every object. The best view says from where the object is seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from interactvlm.geometry.mesh import Mesh
from interactvlm.retrieval.retriever import ImageQuery, ViewMatch
from interactvlm.retrieval.view_crops import object_crop
from interactvlm.retrieval.view_renders import INDEX_VIEWS, photo_rotation, render_object

__all__ = ["CROP_SIDE", "PatchFeatures", "ViewIndex", "ViewScores", "build_views", "view_layout", "views_key"]

Progress = Callable[[str, int, int], None]


class PatchFeatures(Protocol):
    """A frozen image encoder; the composing layer brings it."""

    @property
    def key(self) -> str:
        """Names the encoder: features of another are not to be compared with its own."""
        ...

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""
        ...

    @property
    def channels(self) -> int:
        """Length of a feature."""
        ...

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features [N, S / patch_size, S / patch_size, channels] of RGB uint8 [N, S, S, 3]."""
        ...


CROP_SIDE = 168
"""Pixels of a crop's side."""

#: Raise it with every change to what `build_views` or `render_object` compute: indices in caches are made anew then.
_FORMAT = 1
_GRID = 6  # cells along a side
_DIMENSIONS = 128  # of a cell
#: Weight of what the photo shows of an object where the view has none of it.
_OUTSIDE = 0.8
_LEAST_OUTSIDE = 2.0  # cells: views that fill their square are not judged by the little they leave free
_TURNS = tuple(45.0 * k for k in range(8))  # degrees, of objects that may be turned in the picture
_SAMPLED = 4  # every so many objects, and of these every so many views, say what varies
_LEAST_SHARE = 0.3  # of a patch that the object covers, to count in that


def view_layout(objects: int, channels: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What `build_views` makes: dtype and shape by name.

    - mean [channels] and basis [channels, D]: patches to compact features;
    - cells [objects, views, cells, D], unit, and cover [objects, views, cells], the object's share of each cell.
    """
    views, cells = len(INDEX_VIEWS), _GRID**2
    return {
        "mean": ("float32", (channels,)),
        "basis": ("float32", (channels, _DIMENSIONS)),
        "cells": ("float16", (objects, views, cells, _DIMENSIONS)),
        "cover": ("float16", (objects, views, cells)),
    }


def views_key(features: PatchFeatures) -> str:
    """Names what an index depends on beside its objects: the encoder, and how views are rendered and made compact."""
    return hashlib.sha256(f"{_FORMAT} {INDEX_VIEWS} {CROP_SIDE} {features.key}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, eq=False)
class ViewScores:
    """What one photo is worth to every object.

    Attributes:
        similarity: float32 [objects], of the object's best view.
        view: int64 [objects], which of `INDEX_VIEWS` that is.
        roll: float32 [objects], degrees by which the object is turned clockwise in the photo.
    """

    similarity: NDArray[np.float32]
    view: NDArray[np.int64]
    roll: NDArray[np.float32]

    def best(self, item: int) -> ViewMatch:
        """How an object seems to be seen."""
        pose = replace(INDEX_VIEWS[int(self.view[item])], roll=float(self.roll[item]))
        return ViewMatch(pose.azimuth, pose.elevation, pose.roll, float(self.similarity[item]), photo_rotation(pose))


class ViewIndex:
    """Every view of every object; safe to use from several threads.

    Args:
        arrays: as `view_layout` says.
        features: the encoder they were made with.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]], features: PatchFeatures) -> None:
        self._features = features
        self._mean, self._basis = arrays["mean"], arrays["basis"]
        self._objects, views = arrays["cells"].shape[:2]
        cells = arrays["cells"].reshape(self._objects * views, _GRID**2, _DIMENSIONS).astype(np.float32)
        cover = arrays["cover"].reshape(self._objects * views, _GRID**2).astype(np.float32)
        weighted = cells * cover[..., None]
        self._area = np.maximum(cover.sum(axis=1), 1e-3)
        self._weighted = weighted.reshape(len(weighted), -1)
        self._average = weighted.sum(axis=1) / self._area[:, None]
        free = 1 - cover
        self._free = (free / np.maximum(free.sum(axis=1, keepdims=True), _LEAST_OUTSIDE)).T.copy()

    def match(self, queries: Sequence[ImageQuery]) -> list[ViewScores]:
        """Compare objects in photos with every view.

        Raises:
            InputError: a query is malformed (see `view_crops`).
        """
        return [self._match(query) for query in queries]

    def match_mesh(self, mesh: Mesh) -> NDArray[np.float32]:
        """How much each object looks like a mesh, seen from the same sides: float32 [objects].

        Raises:
            MeshError: all vertices of the mesh coincide.
        """
        poses = INDEX_VIEWS[::4]
        images, share = render_object(mesh, poses, CROP_SIDE)
        by_view = self._compared(images, share)
        return np.asarray(by_view.max(axis=2).mean(axis=0), np.float32)

    def _match(self, query: ImageQuery) -> ViewScores:
        turns = _TURNS if query.turned else _TURNS[:1]
        images, shares = zip(*(object_crop(query, CROP_SIDE, roll=turn) for turn in turns), strict=True)
        found = self._compared(np.stack(images), np.stack(shares))
        best = found.max(axis=2)
        turn, place = best.argmax(axis=0), np.arange(self._objects)
        view = found.argmax(axis=2)[turn, place]
        return ViewScores(best[turn, place], view, np.array(turns, np.float32)[turn])

    def _compared(self, images: NDArray[np.uint8], shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """Crops [N, S, S, 3] against all views: float32 [N, objects, views].

        A view's score is the mean likeness of the cells that it covers, less the likeness of what lies beside them:
        an object that goes on where the view has ended is another object, or seen from elsewhere.
        """
        found = []
        for image, share in zip(images, shares, strict=True):
            # One at a time: nothing may depend on what else was asked.
            compact = _compact(self._features(image[None]), self._mean, self._basis)
            cells, cover = _gridded(compact, share[None])
            seen = (cells * cover[..., None])[0]
            inside = (self._weighted @ seen.ravel()) / self._area
            likeness = seen @ self._average.T
            score = inside - np.float32(_OUTSIDE) * np.einsum("cv,cv->v", likeness, self._free)
            found.append(score.reshape(self._objects, -1).astype(np.float32))
        return np.stack(found)


def build_views(
    meshes: Sequence[Callable[[], Mesh]], features: PatchFeatures, *, progress: Progress | None = None
) -> dict[str, NDArray[Any]]:
    """Render every object and compute its features (about half a second an object and core).

    Args:
        meshes: gives each object's mesh.
        features: the encoder.
        progress: told ("views", done, in all).

    Returns:
        Arrays as `view_layout` says.
    """
    mean, basis = _compaction(meshes, features)
    cells, cover = [], []
    for done, mesh in enumerate(meshes):
        images, share = render_object(mesh(), INDEX_VIEWS, CROP_SIDE)
        one = _gridded(_compact(features(images), mean, basis), share)
        cells.append(one[0].astype(np.float16))
        cover.append(one[1].astype(np.float16))
        if progress is not None:
            progress("views", done + 1, len(meshes))
    return {"mean": mean, "basis": basis, "cells": np.stack(cells), "cover": np.stack(cover)}


def _compaction(
    meshes: Sequence[Callable[[], Mesh]], features: PatchFeatures
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean [C] and whitening basis [C, D] of patches that objects cover."""
    patches = []
    for mesh in meshes[::_SAMPLED]:
        images, share = render_object(mesh(), INDEX_VIEWS[::_SAMPLED], CROP_SIDE)
        found = features(images)
        patches.append(found[_pooled(share, found.shape[1]) > _LEAST_SHARE])
    sample = np.concatenate(patches).astype(np.float64)
    mean = sample.mean(axis=0)
    variance, directions = np.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
    largest = slice(len(variance) - 1, len(variance) - 1 - _DIMENSIONS, -1)
    basis = directions[:, largest] / np.sqrt(np.maximum(variance[largest], 1e-9))
    return mean.astype(np.float32), basis.astype(np.float32)


def _compact(
    features: NDArray[np.float32], mean: NDArray[np.float32], basis: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Patches [N, g, g, C] as unit vectors [N, g, g, D]."""
    return _unit((features - mean) @ basis)


def _gridded(
    compact: NDArray[np.float32], share: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cells [N, 36, D], unit means of what the object covers, and its share of them [N, 36]."""
    number, grid, _, channels = compact.shape
    step = grid // _GRID
    weight = _pooled(share, grid)
    squares = (compact * weight[..., None]).reshape(number, _GRID, step, _GRID, step, channels)
    cells = _unit(squares.sum(axis=(2, 4))).reshape(number, _GRID**2, channels)
    return cells, _pooled(share, _GRID).reshape(number, _GRID**2)


def _pooled(share: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """[N, S, S] averaged to [N, grid, grid]."""
    side = share.shape[1] // grid
    return np.asarray(share.reshape(len(share), grid, side, grid, side).mean(axis=(2, 4)))


def _unit(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6), np.float32)
