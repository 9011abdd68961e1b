"""OpenShape's point cloud encoder, PointBERT scaled up (Liu et al., OpenShape, 2023; paper section 5).

Groups of points become tokens (set abstraction), a transformer mixes them, and the class token is projected into
CLIP's embedding space, where shapes, photos and words compare by cosine.

Shapes: B clouds, N points, S groups (patches), K points a group, D width, E embedding.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from interactvlm.checkpoints.reader import WeightReader
from interactvlm.errors import CheckpointError, InputError
from interactvlm.retrieval.point_groups import ball_groups, farthest_points, gather_points

__all__ = ["B32", "G14", "L14", "ShapeEncoder", "ShapeEncoderConfig", "load_shape_encoder"]

_POINT_CHANNELS = 6
_GROUP_WIDTH = 64
# From this module's names to the published checkpoint's, applied in order.
_STORED_NAMES = (
    ("grouping.convs.", "sa.mlp_convs."),
    ("grouping.norms.", "sa.mlp_bns."),
    ("patch_norm.", "lift.2."),
    ("patch_embed.", "lift.0."),
    ("class_token", "cls_token"),
    ("blocks.", "transformer.layers."),
    (".attention.norm.", ".0.norm."),
    (".attention.qkv.", ".0.fn.to_qkv."),
    (".attention.out.", ".0.fn.to_out.0."),
    (".mlp.norm.", ".1.norm."),
    (".mlp.expand.", ".1.fn.net.0."),
    (".mlp.contract.", ".1.fn.net.3."),
)
#: What stands before the names: of the G14 file, of the L14 and B32 files, of a plain state dict.
_PREFIXES = ("module.", "pc_encoder.", "")


@dataclass(frozen=True, slots=True)
class ShapeEncoderConfig:
    """Sizes of the encoder; defaults are OpenShape's published G14 model.

    Attributes:
        width: D, transformer width.
        depth: transformer blocks.
        heads: attention heads.
        head_width: width of one head.
        mlp_width: hidden width of a block's MLP.
        group_width: features of one group of points.
        groups: S, groups per cloud.
        radius: reach of a group, in units of the normalised cloud.
        group_size: K, points per group.
        embedding: E, width of the embedding; 0 where there is no projection and E is D.
        up: the axis that points up in the clouds it was trained on, "y" or "z".
    """

    width: int = 512
    depth: int = 12
    heads: int = 8
    head_width: int = 64
    mlp_width: int = 1536
    group_width: int = 256
    groups: int = 384
    radius: float = 0.2
    group_size: int = 64
    embedding: int = 1280
    up: str = "z"


G14 = ShapeEncoderConfig()
"""In the space of CLIP ViT-bigG-14 (`laion2b_s39b_b160k`)."""
L14 = ShapeEncoderConfig(mlp_width=1024, group_width=128, groups=64, radius=0.4, group_size=256, embedding=768, up="y")
"""In the space of OpenAI's CLIP ViT-L/14."""
B32 = ShapeEncoderConfig(mlp_width=1024, group_width=128, groups=64, radius=0.4, group_size=256, embedding=0, up="y")
"""In the space of OpenAI's CLIP ViT-B/32: 512 channels, the transformer's own."""


class ShapeEncoder(nn.Module):
    """Point clouds to embeddings. Built for inference: dropout is left out, batch norm needs `eval()`.

    The order of a cloud's points matters in two ways: the first one starts the sampling, and where more than K points
    lie in a group's reach, the first K in order are taken. A cloud whose groups are not overfull gives the same
    embedding in any order, once the same point starts.
    """

    def __init__(self, *, config: ShapeEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.grouping = _PointGrouping(config)
        self.patch_embed = nn.Conv1d(config.group_width + 3, config.width, 1)
        self.patch_norm = nn.LayerNorm(config.width)
        self.class_token = nn.Parameter(torch.zeros(config.width))
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.depth))
        self.projection = nn.Linear(config.width, config.embedding) if config.embedding else nn.Identity()

    @property
    def channels(self) -> int:
        """E, width of the embedding."""
        return self.config.embedding or self.config.width

    def forward(self, points: Tensor, colours: Tensor, *, start: Tensor | None = None) -> Tensor:
        """Embed clouds; compare the results by cosine.

        Args:
            points: float [B, N, 3], the configuration's axis up, centred, farthest point at distance 1 (see
                `normalize_cloud`).
            colours: float [B, N, 3], RGB in [0, 1].
            start: int64 [B], the point that starts the sampling; the first when None.

        Returns:
            Embeddings [B, E], not normalised.

        Raises:
            InputError: when shapes are wrong.
        """
        embedding: Tensor = self.projection(self.class_features(points, colours, start=start))
        return embedding

    def class_features(self, points: Tensor, colours: Tensor, *, start: Tensor | None = None) -> Tensor:
        """The transformer's class token [B, D], before the projection; arguments as in `forward`."""
        if points.ndim != 3 or points.shape[2] != 3 or points.shape != colours.shape:
            shapes = f"{list(points.shape)} and {list(colours.shape)}"
            raise InputError("points and colours", f"have shapes {shapes}, both must be [B, N, 3]")
        centres, features = self.grouping(points, colours, start)
        tokens: Tensor = self.patch_norm(self.patch_embed(torch.cat([centres, features], 1)).mT)
        tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens[:, 0]


class _PointGrouping(nn.Module):
    """Set abstraction: centres [B, 3, S] and features [B, C, S] of groups of points."""

    def __init__(self, config: ShapeEncoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = (3 + _POINT_CHANNELS, _GROUP_WIDTH, _GROUP_WIDTH, config.group_width)
        pairs = list(pairwise(widths))
        self.convs = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _, after in pairs)

    def forward(self, points: Tensor, colours: Tensor, start: Tensor | None) -> tuple[Tensor, Tensor]:
        config = self.config
        centres = gather_points(points, farthest_points(points, config.groups, start=start))
        groups = ball_groups(points, centres, radius=config.radius, limit=config.group_size)
        members = gather_points(torch.cat([points, colours], -1), groups)
        offsets = members[..., :3] - centres[:, :, None]
        values = torch.cat([offsets, members], -1).permute(0, 3, 2, 1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            values = functional.relu(norm(conv(values)))
        return centres.mT, values.amax(2)


class _Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: ShapeEncoderConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.mlp = _Mlp(config)

    def forward(self, tokens: Tensor) -> Tensor:
        attended: Tensor = tokens + self.attention(tokens)
        mixed: Tensor = attended + self.mlp(attended)
        return mixed


class _Attention(nn.Module):
    def __init__(self, config: ShapeEncoderConfig) -> None:
        super().__init__()
        inner = config.heads * config.head_width
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm(tokens)).chunk(3, -1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return result


class _Mlp(nn.Module):
    def __init__(self, config: ShapeEncoderConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, config.mlp_width)
        self.contract = nn.Linear(config.mlp_width, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.contract(functional.gelu(self.expand(self.norm(tokens))))
        return result


def load_shape_encoder(
    folder: Path, *, config: ShapeEncoderConfig | None = None, device: torch.device | str = "cpu"
) -> ShapeEncoder:
    """Load the encoder from a folder with the published weights as `model.safetensors`, in float32, for inference.

    OpenShape's file is a pickle: `interactvlm convert-checkpoint` makes the folder.

    Args:
        folder: where the weights lie; tensor names as published, with or without their prefix.
        config: sizes; when None, the published model (G14, L14 or B32) whose shapes the tensors have.
        device: where to put it.

    Raises:
        CheckpointError: when weights are missing, left over, of other sizes than `config` says, or of no published one.
    """
    reader = WeightReader(folder)
    prefix, body = _prefixes(reader)
    if config is None:
        config = _published(reader, prefix, body)

    def stored_name(own: str) -> str:
        if own.startswith("projection."):
            return prefix + own.replace("projection.", "proj.", 1)
        for ours, published in _STORED_NAMES:
            own = own.replace(ours, published, 1)
        return prefix + body + own

    with torch.device("meta"):
        encoder = ShapeEncoder(config=config)
    wanted = {stored_name(name) for name in encoder.state_dict()}
    ours = tuple(f"{prefix}{part}" for part in ("ppat.", "proj.", "sa.", "lift.", "cls_token", "transformer."))
    extra = [name for name in reader.names() if name.startswith(ours) and name not in wanted]
    if extra:
        raise CheckpointError(
            folder, f"holds {len(extra)} tensors the encoder has no place for, the first is {extra[0]}"
        )
    reader.load_into(encoder, stored_name=stored_name, dtype=torch.float32, device=device)
    return encoder.eval()


def _prefixes(reader: WeightReader) -> tuple[str, str]:
    """What stands before every name, and before those of the transformer: a projected one is kept under "ppat."."""
    for prefix in _PREFIXES:
        for body in ("ppat.", ""):
            if f"{prefix}{body}cls_token" in reader:
                return prefix, body
    raise CheckpointError(reader.folder, "holds no OpenShape point encoder: no tensor is named cls_token")


def _published(reader: WeightReader, prefix: str, body: str) -> ShapeEncoderConfig:
    """The published sizes that the tensors have; groups, radius and heads leave no trace in them."""
    layers = re.compile(re.escape(f"{prefix}{body}transformer.layers.") + r"(\d+)\.0\.norm\.weight")
    depth = sum(layers.fullmatch(name) is not None for name in reader.names())

    def rows(name: str) -> int:
        return reader.shape(name)[0] if name in reader else 0

    transformer = f"{prefix}{body}transformer.layers.0."
    found = {
        "width": rows(f"{prefix}{body}cls_token"),
        "depth": depth,
        "mlp_width": rows(f"{transformer}1.fn.net.0.weight"),
        "group_width": rows(f"{prefix}{body}sa.mlp_convs.2.weight"),
        "embedding": rows(f"{prefix}proj.weight"),
    }
    for config in (G14, L14, B32):
        if all(getattr(config, name) == value for name, value in found.items()):
            return config
    sizes = ", ".join(f"{name} {value}" for name, value in found.items())
    raise CheckpointError(reader.folder, f"has {sizes}: none of OpenShape's G14, L14 and B32; state its sizes")
