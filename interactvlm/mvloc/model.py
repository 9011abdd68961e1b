"""The facade of multi-view localization: contact embeddings in, per-vertex contact out (paper, section 3).

E -> Phi -> (splitter) -> Omega over Theta(renders) -> lift. Shapes: Q questions, J = 4 views, C = 256 channels,
g side of the embedding grid.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.body.template import BodyTemplate
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import QuestionError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.mvloc.cache import DEFAULT_MAX_BYTES, EmbeddingCache, default_cache_dir, tensors_identity
from interactvlm.mvloc.camera_gate import load_camera_gate
from interactvlm.mvloc.checks import check_embeddings, check_has_views
from interactvlm.mvloc.decoder import MaskPredictor
from interactvlm.mvloc.encoder import ENCODER_PREFIX, ImageEncoder, encoder_sizes
from interactvlm.mvloc.splitter import SPLITTER_PREFIX, AttentionSplitter, side_of_token
from interactvlm.mvloc.surfaces import (
    HumanLift,
    ObjectCamera,
    OfficialBody,
    Surface,
    SurfaceKind,
    SurfaceViews,
    body_cameras,
    body_views,
    object_cameras,
    object_identity,
    object_views,
)
from interactvlm.types import Target, VertexContact

__all__ = ["BodySource", "ContactLocalizer"]

#: Objects kept ready in memory, each about 100 MiB at the published sizes; the last one stays whatever its size.
_OBJECT_BYTES_IN_MEMORY = 512 * 2**20
_VISUAL = "model.visual_model."

BodySource = BodyTemplate | OfficialBody
"""The body on which human contact is answered: a template to render, or the release's own renders and maps."""


class ContactLocalizer:
    """Phi, Omega and the lift over a body and any number of objects; build it with `from_folder`.

    Not for several threads at once. The image encoder (Theta, most of the weights) is loaded when a surface turns up
    whose embeddings are in no cache: the body's are computed once per checkpoint and machine.
    """

    def __init__(
        self,
        *,
        config: ReleaseConfig,
        reader: WeightReader,
        body: BodySource,
        device: torch.device,
        dtype: torch.dtype,
        cache: EmbeddingCache,
        human_lift: HumanLift,
        object_camera: ObjectCamera,
    ) -> None:
        self.config = config
        self.object_camera = object_camera
        self._reader = reader
        self._body_source = body
        self._device = device
        self._dtype = dtype
        self._cache = cache
        self._human_lift = human_lift
        self._sizes = encoder_sizes(reader)
        self._gate = load_camera_gate(reader, config, device, dtype)
        self._splitter = _load_splitter(reader, device, dtype) if config.has_splitter else None
        self._predictors = self._load_predictors()
        self._tables: dict[bytes, Tensor] = {}
        self._encoder: ImageEncoder | None = None
        self._encoder_identity = ""
        self._body: Surface | None = None
        self._objects: OrderedDict[str, Surface] = OrderedDict()

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        *,
        body: BodySource,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        cache_dir: Path | None = None,
        cache_bytes: int = DEFAULT_MAX_BYTES,
        human_lift: HumanLift = HumanLift.SOFT,
        object_camera: ObjectCamera = ObjectCamera.DEMO,
    ) -> ContactLocalizer:
        """Load the localization part of a checkpoint folder.

        Args:
            folder: config.json and safetensors weights in the official layout.
            body: what human contact is answered on.
            device: where to compute.
            dtype: dtype of encoder and decoder; the lift and the grid's positional encoding stay float32.
            cache_dir: where view embeddings are kept; None: the user's cache folder.
            cache_bytes: bound on that folder's size.
            human_lift: HARD for the older human checkpoints.
            object_camera: which distance conditions Phi for object meshes.

        Raises:
            CheckpointError: the folder is incomplete or inconsistent, or holds the one-view model (human_mask_2d.py).
        """
        config = ReleaseConfig.from_folder(folder)
        check_has_views(config, folder)
        return cls(
            config=config,
            reader=WeightReader(folder),
            body=body,
            device=torch.device(device),
            dtype=dtype,
            cache=EmbeddingCache(cache_dir or default_cache_dir(), max_bytes=cache_bytes),
            human_lift=human_lift,
            object_camera=object_camera,
        )

    @property
    def body(self) -> Surface:
        """The body's surface, prepared on first use."""
        return self._ready_body(None)

    def prepare(self, views: SurfaceViews, *, should_stop: Callable[[], bool] | None = None) -> Surface:
        """Encode a surface's views, or find them in the cache, and build its lift.

        Args:
            views: the surface.
            should_stop: asked before each view is encoded; True gives up.

        Raises:
            CancelledError: `should_stop` said so.
        """
        embeddings = self._cache.get_or_compute(
            self._cache_key(views.identity), lambda: self.encoder.encode_images(views.images, should_stop=should_stop)
        )
        return Surface.prepare(views, embeddings, human_lift=self._human_lift, device=self._device)

    @property
    def encoder(self) -> ImageEncoder:
        """Theta, loaded on first use."""
        if self._encoder is None:
            self._encoder = ImageEncoder.load(self._reader, self._device, self._dtype)
        return self._encoder

    @property
    def encoder_loaded(self) -> bool:
        """Whether Theta's weights are in memory."""
        return self._encoder is not None

    def locate_body(
        self,
        embeddings: NDArray[np.float32],
        tokens: Sequence[str],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[VertexContact]:
        """Contact on the body.

        Args:
            embeddings: projected contact embeddings (E), float32 [Q, C].
            tokens: the contact token of each ("[SEG]", "[HSEG]").
            should_stop: asked before each view is encoded that is in no cache; True gives up.

        Returns:
            Per question, probabilities of the body's vertices and low-resolution view logits.

        Raises:
            QuestionError: the checkpoint has no human head.
            InputError: the embeddings are malformed.
            CancelledError: `should_stop` said so.
        """
        if not self.config.has_human_head:
            raise QuestionError("task", "asks about the body, and this checkpoint has no human head")
        return self.locate(self._ready_body(should_stop), embeddings, tokens)

    def locate_object(
        self,
        target: Mesh | PointCloud,
        embeddings: NDArray[np.float32],
        tokens: Sequence[str],
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> list[VertexContact]:
        """Contact or affordance on an object; other arguments, what is returned and raised: as `locate_body`.

        Args:
            target: a mesh or points; with views of their own (`OfficialMesh`, `OfficialPoints`), these are used.

        Raises:
            QuestionError: the checkpoint has no object head.
            MeshError: the object has no extent.
        """
        if not self.config.has_object_head:
            raise QuestionError("task", "asks about an object, and this checkpoint has no object head")
        return self.locate(self._object(target, should_stop), embeddings, tokens)

    def holds(self, target: Mesh | PointCloud) -> bool:
        """Whether an object is ready in memory, so that locating on it renders and encodes nothing; any thread."""
        return object_identity(target, self._sizes.image_size) in self._objects

    @torch.inference_mode()
    def locate(self, surface: Surface, embeddings: NDArray[np.float32], tokens: Sequence[str]) -> list[VertexContact]:
        """Contact on a prepared surface; `locate_body` and `locate_object` without their check of the heads."""
        if not len(tokens) and not len(embeddings):
            return []
        logits, _ = self.masks(surface, embeddings, tokens)
        # Released point lifts may average raw logits at the outline (PointLift): what is reported is a probability.
        lifted = surface.lift(logits).clamp(0, 1).cpu().numpy()
        views = logits.cpu().numpy()
        return [VertexContact(values, view) for values, view in zip(lifted, views, strict=True)]

    @torch.inference_mode()
    def masks(self, surface: Surface, embeddings: NDArray[np.float32], tokens: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Masks in the surface's views: logits float32 [Q, J, 4 g, 4 g] and predicted IoU float32 [Q, J]."""
        prompts = self.prompts(surface.kind, embeddings, tokens)
        target = Target.HUMAN if surface.kind is SurfaceKind.BODY else Target.OBJECT
        logits, quality = self._predictors[target](surface.embeddings, prompts)
        return logits, quality

    @torch.inference_mode()
    def prompts(self, kind: SurfaceKind, embeddings: NDArray[np.float32], tokens: Sequence[str]) -> Tensor:
        """Sparse prompts [Q, T, C]: embeddings conditioned on the surface's cameras and split by token."""
        rows = check_embeddings(embeddings, tokens, channels=self.config.out_dim)
        prompts = self._gate.condition(rows.to(self._device, self._dtype), self.gate_table(kind))
        if self._splitter is None:
            return prompts
        target = Target.HUMAN if kind is SurfaceKind.BODY else Target.OBJECT
        split: Tensor = self._splitter(prompts, [side_of_token(token, target) for token in tokens])
        return split

    @torch.inference_mode()
    def gate_table(self, kind: SurfaceKind) -> Tensor:
        """Phi's constant for a kind of surface, [J, C]: its cameras never change, so it is computed once."""
        cameras = body_cameras() if kind is SurfaceKind.BODY else object_cameras(kind, self.object_camera)
        key = cameras.tobytes()
        if key not in self._tables:
            self._tables[key] = self._gate.table(torch.from_numpy(cameras).to(self._device, self._dtype))
        return self._tables[key]

    def _ready_body(self, should_stop: Callable[[], bool] | None) -> Surface:
        if self._body is None:
            views = body_views(self._body_source, self._sizes.image_size)
            self._body = self.prepare(views, should_stop=should_stop)
        return self._body

    def _object(self, target: Mesh | PointCloud, should_stop: Callable[[], bool] | None) -> Surface:
        key = object_identity(target, self._sizes.image_size)
        if key not in self._objects:
            self._objects[key] = self.prepare(object_views(target, self._sizes.image_size), should_stop=should_stop)
        self._objects.move_to_end(key)
        while len(self._objects) > 1 and sum(s.nbytes for s in self._objects.values()) > _OBJECT_BYTES_IN_MEMORY:
            self._objects.popitem(last=False)
        return self._objects[key]

    def _cache_key(self, identity: str) -> str:
        if not self._encoder_identity:
            self._encoder_identity = tensors_identity(self._reader, ENCODER_PREFIX, self._cache.folder)
        return hashlib.sha256(f"{self._encoder_identity}|{identity}|{self._dtype}".encode()).hexdigest()

    def _load_predictors(self) -> dict[Target, MaskPredictor]:
        """One shared mask decoder, or one per target where the checkpoint has two ("-DifDe")."""

        def load(name: str) -> MaskPredictor:
            return MaskPredictor.load(
                self._reader,
                decoder_prefix=f"{_VISUAL}{name}.",
                grid=self._sizes.grid,
                device=self._device,
                dtype=self._dtype,
            )

        if self.config.separate_decoders:
            return {Target.HUMAN: load("human_mask_decoder"), Target.OBJECT: load("object_mask_decoder")}
        return dict.fromkeys(Target, load("mask_decoder"))


def _load_splitter(reader: WeightReader, device: torch.device, dtype: torch.dtype) -> AttentionSplitter:
    with torch.device("meta"):
        splitter = AttentionSplitter()
    reader.load_into(splitter, stored_name=lambda own: SPLITTER_PREFIX + own, dtype=dtype, device=device)
    return splitter.eval()
