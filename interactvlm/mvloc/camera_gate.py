"""Phi: what the cameras do to a contact embedding (paper, section 3, FeatLift).

Shapes: Q questions, J views, C = 256 channels. Every released checkpoint uses "vi_v1". The other two names occur in
the release's configuration but in no published weights; here they follow its description: `simple` adds
ReLU(Linear(camera)), `view_index` adds a learned vector per view. Without camera conditioning nothing tells the views
apart and the embedding is a single token. Cameras are rows of `interactvlm.geometry.cameras.camera_parameters`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interactvlm.errors import CheckpointError

if TYPE_CHECKING:
    from interactvlm.checkpoints.config import ReleaseConfig
    from interactvlm.checkpoints.reader import WeightReader

__all__ = ["CAMERA_GATE_PREFIX", "CameraGate", "build_camera_gate", "load_camera_gate"]

CAMERA_GATE_PREFIX = "cam_pose_encoder."
_CAMERA_NUMBERS = 5


class CameraGate(nn.Module):
    """Base of the three kinds of conditioning. The cameras are fixed, so at inference `table` is computed once."""

    def table(self, cameras: Tensor) -> Tensor:
        """The constant per view: [J, C] from normalised cameras [J, 5]."""
        raise NotImplementedError

    def condition(self, embeddings: Tensor, table: Tensor) -> Tensor:
        """E_3D [Q, J, C] from contact embeddings [Q, C] and `table` [J, C]."""
        raise NotImplementedError

    def forward(self, embeddings: Tensor, cameras: Tensor) -> Tensor:
        """`condition` with the table of `cameras` [J, 5]: [Q, J, C]."""
        return self.condition(embeddings, self.table(cameras))


class PerViewGate(CameraGate):
    """ "vi_v1": a shared camera encoder, one output layer per view, a sigmoid gate multiplied into the embedding."""

    def __init__(self, *, views: int = 4, channels: int = 256, hidden: int = 128) -> None:
        super().__init__()
        self.spatial_encoder = nn.Sequential(
            nn.Linear(_CAMERA_NUMBERS, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.view_transforms = nn.ModuleList(nn.Linear(hidden, channels) for _ in range(views))

    def table(self, cameras: Tensor) -> Tensor:
        """Gates in (0, 1), [J, C]."""
        features = self.spatial_encoder(cameras)
        rows = [layer(row) for layer, row in zip(self.view_transforms, features, strict=True)]
        return torch.stack(rows).sigmoid()

    def condition(self, embeddings: Tensor, table: Tensor) -> Tensor:
        """The product of every embedding with every view's gate."""
        return embeddings[:, None, :] * table


class AddedCamera(CameraGate):
    """ "simple": ReLU(Linear(camera)) added to the embedding."""

    def __init__(self, *, channels: int = 256) -> None:
        super().__init__()
        self.encoder = nn.Linear(_CAMERA_NUMBERS, channels)

    def table(self, cameras: Tensor) -> Tensor:
        """Offsets, [J, C]."""
        return F.relu(self.encoder(cameras))

    def condition(self, embeddings: Tensor, table: Tensor) -> Tensor:
        """The sum of every embedding with every view's offset."""
        return embeddings[:, None, :] + table


class AddedViewIndex(CameraGate):
    """ "view_index": a learned vector per view added to the embedding; the cameras themselves are not used."""

    def __init__(self, *, views: int = 4, channels: int = 256) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(views, channels))

    def table(self, cameras: Tensor) -> Tensor:
        """Offsets, [J, C]."""
        return self.weight

    def condition(self, embeddings: Tensor, table: Tensor) -> Tensor:
        """The sum of every embedding with every view's offset."""
        return embeddings[:, None, :] + table


class NoCamera(CameraGate):
    """No conditioning: one token, the embedding itself."""

    def table(self, cameras: Tensor) -> Tensor:
        """Nothing: [0, 0]."""
        return cameras.new_empty(0, 0)

    def condition(self, embeddings: Tensor, table: Tensor) -> Tensor:
        """[Q, 1, C]."""
        return embeddings[:, None, :]


def build_camera_gate(config: ReleaseConfig) -> CameraGate:
    """The conditioning that `config` names, with uninitialised or random weights."""
    if not config.multiview_cam_cond or config.multiview_channels == 1:
        return NoCamera()
    views, channels = config.multiview_channels, config.out_dim
    match config.cam_encoder_type:
        case "vi_v1":
            return PerViewGate(views=views, channels=channels)
        case "simple":
            return AddedCamera(channels=channels)
        case _:
            return AddedViewIndex(views=views, channels=channels)


def load_camera_gate(
    reader: WeightReader, config: ReleaseConfig, device: torch.device, dtype: torch.dtype
) -> CameraGate:
    """`build_camera_gate` filled from a checkpoint.

    Raises:
        CheckpointError: a tensor is missing, or of another shape, or not to be told from others.
    """
    with torch.device("meta"):
        gate = build_camera_gate(config)
    names = _stored_names(reader, gate)
    reader.load_into(gate, stored_name=names.__getitem__, dtype=dtype, device=device)
    return gate.eval()


def _stored_names(reader: WeightReader, gate: CameraGate) -> dict[str, str]:
    """Own name -> stored name. Only "vi_v1" was published, so the others' tensors are told by their shapes."""
    if isinstance(gate, PerViewGate):
        return {own: CAMERA_GATE_PREFIX + own for own in gate.state_dict()}
    stored: dict[str, str] = {}
    for own, tensor in gate.state_dict().items():
        shape = tuple(tensor.shape)
        found = [n for n in reader.names() if n.startswith(CAMERA_GATE_PREFIX) and reader.shape(n) == shape]
        if len(found) != 1:
            problem = f"has {len(found)} {CAMERA_GATE_PREFIX}* tensors of shape {shape}; needs one"
            raise CheckpointError(reader.folder, problem)
        stored[own] = found[0]
    return stored
