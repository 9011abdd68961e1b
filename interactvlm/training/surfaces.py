"""Surfaces as training needs them: what Theta sees of them, how masks are lifted, what masks to learn.

The frozen encoder runs once per surface and its output lies on disk; in memory stay the body and the objects used last.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from interactvlm.checkpoints.reader import WeightReader
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.mvloc.cache import EmbeddingCache, tensors_identity
from interactvlm.mvloc.encoder import ENCODER_PREFIX, ImageEncoder, build_image_encoder, encoder_sizes, sam_input
from interactvlm.mvloc.model import BodySource
from interactvlm.mvloc.surfaces import HumanLift, Surface, SurfaceViews, body_views, object_views
from interactvlm.training.targets import MaskTargets

__all__ = ["TrainingSurface", "TrainingSurfaces", "load_neck"]

#: Disk for embeddings of objects: some thousand objects of nano's size.
_DISK_BYTES = 16 * 2**30


@dataclass(frozen=True, slots=True, eq=False)
class TrainingSurface:
    """A surface and the masks to learn on it."""

    surface: Surface
    targets: MaskTargets

    @property
    def nbytes(self) -> int:
        """Memory it holds."""
        return self.surface.nbytes + self.targets.nbytes


class TrainingSurfaces:
    """Prepares surfaces and keeps those used last.

    Args:
        folder: the checkpoint.
        body: what human contact lies on.
        before_neck: surfaces carry what Theta's neck reads, because the neck is trained.
        mask_side: side of the mask targets; 0 = the renders'.
        object_share: share of all objects (by content) that are used.
        cache: folder of the encoder's output.
        device: where surfaces are used.
        max_bytes: bound on the objects in memory.
    """

    def __init__(
        self,
        folder: Path,
        *,
        body: BodySource,
        before_neck: bool,
        mask_side: int,
        object_share: float,
        cache: Path,
        device: torch.device,
        max_bytes: int = 2 * 2**30,
    ) -> None:
        self._reader = WeightReader(folder)
        self._sizes = encoder_sizes(self._reader)
        self._before_neck = before_neck
        self._mask_side = mask_side or self._sizes.image_size
        self._object_share = object_share
        self._cache = EmbeddingCache(cache, max_bytes=_DISK_BYTES)
        self._encoder_identity = tensors_identity(self._reader, ENCODER_PREFIX, cache)
        self._device = device
        self._max_bytes = max_bytes
        self._encoder: ImageEncoder | None = None
        self._objects: OrderedDict[str, TrainingSurface] = OrderedDict()
        self.body = self._prepare(body_views(body, self._sizes.image_size))

    def object(self, target: Mesh | PointCloud) -> TrainingSurface | None:
        """An object, None where it is not among those used."""
        key = target.content_hash
        share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
        return self.prepare(target) if share < self._object_share else None

    def prepare(self, target: Mesh | PointCloud) -> TrainingSurface:
        """Any object."""
        key = target.content_hash
        if key not in self._objects:
            self._objects[key] = self._prepare(object_views(target, self._sizes.image_size))
        self._objects.move_to_end(key)
        while len(self._objects) > 1 and sum(s.nbytes for s in self._objects.values()) > self._max_bytes:
            self._objects.popitem(last=False)
        return self._objects[key]

    def _prepare(self, views: SurfaceViews) -> TrainingSurface:
        key = hashlib.sha256(f"{self._encoder_identity}|{views.identity}|{self._before_neck}|half".encode()).hexdigest()
        embeddings = self._cache.get_or_compute(key, lambda: self._encode(views).half())
        surface = Surface.prepare(views, embeddings, human_lift=HumanLift.SOFT, device=self._device)
        return TrainingSurface(surface, MaskTargets(views, self._mask_side))

    def _encode(self, views: SurfaceViews) -> Tensor:
        if self._encoder is None:
            # bfloat16 where it is fast: the result is kept in half precision anyway.
            dtype = torch.bfloat16 if self._device.type == "cuda" else torch.float32
            self._encoder = _load_encoder(self._reader, self._device, dtype, before_neck=self._before_neck)
        inputs = torch.stack([sam_input(image, self._sizes.image_size)[0] for image in views.images])
        return self._encoder.encode(inputs)


def load_neck(reader: WeightReader, device: torch.device) -> nn.Module:
    """Theta's neck alone, float32, ready for gradients: [J, width, g, g] to [J, C, g, g]."""
    with torch.device("meta"):
        neck: Any = build_image_encoder(encoder_sizes(reader)).neck
    prefix = f"{ENCODER_PREFIX}neck."
    reader.load_into(neck, stored_name=lambda own: prefix + own, dtype=torch.float32, device=device)
    trained: nn.Module = neck.requires_grad_(True)
    return trained


def _load_encoder(reader: WeightReader, device: torch.device, dtype: torch.dtype, *, before_neck: bool) -> ImageEncoder:
    sizes = encoder_sizes(reader)
    with torch.device("meta"):
        module = build_image_encoder(sizes)
    if before_neck:
        module.neck = nn.Identity()
    reader.load_into(module, stored_name=lambda own: ENCODER_PREFIX + own, dtype=dtype, device=device)
    return ImageEncoder(module=module.eval(), sizes=sizes, device=device, dtype=dtype)
