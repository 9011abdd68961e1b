from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from interactvlm.errors import CheckpointError, InputError
from interactvlm.retrieval.point_groups import (
    MISSING_COLOUR,
    ball_groups,
    farthest_points,
    gather_points,
    normalize_cloud,
)
from interactvlm.retrieval.shape_encoder import B32, G14, L14, ShapeEncoder, ShapeEncoderConfig, load_shape_encoder

SMALL = ShapeEncoderConfig(
    width=16,
    depth=1,
    heads=2,
    head_width=8,
    mlp_width=24,
    group_width=12,
    groups=20,
    radius=0.3,
    group_size=32,
    embedding=10,
)


def encoder(seed: int = 0) -> ShapeEncoder:
    torch.manual_seed(seed)
    return ShapeEncoder(config=SMALL).eval()


def cloud(seed: int, count: int = 60, batch: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    points, _ = normalize_cloud(torch.randn(batch, count, 3, generator=generator))
    return points, torch.rand(batch, count, 3, generator=generator)


@torch.no_grad()
@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000))
def test_the_order_of_points_does_not_matter_once_the_start_is_fixed(seed: int) -> None:
    points, colours = cloud(seed)
    neighbours = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") <= SMALL.radius
    assert neighbours.sum(-1).max() <= SMALL.group_size  # no group is overfull
    order = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(seed))
    start = (order == 0).nonzero()[0]
    model = encoder()
    shuffled = model(points[:, order], colours[:, order], start=start)
    torch.testing.assert_close(shuffled, model(points, colours), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_overfull_groups_depend_on_the_order() -> None:
    points, colours = cloud(0, count=2000)
    order = torch.randperm(2000, generator=torch.Generator().manual_seed(1))
    shuffled = encoder()(points[:, order], colours[:, order], start=(order == 0).nonzero()[0])
    assert (shuffled - encoder()(points, colours)).abs().max() > 1e-4


@torch.no_grad()
def test_a_batch_equals_its_clouds_one_by_one() -> None:
    points, colours = cloud(3, batch=3)
    alone = torch.cat([encoder()(points[i : i + 1], colours[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(encoder()(points, colours), alone, atol=1e-5, rtol=1e-5)


def test_farthest_points_on_a_line() -> None:
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [10, 0, 0]]])
    assert farthest_points(points, 3).tolist() == [[0, 3, 2]]
    assert farthest_points(points, 3, start=torch.tensor([1])).tolist() == [[1, 3, 0]]
    assert farthest_points(points[:, :2], 4).tolist() == [[0, 1, 0, 0]]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_groups_hold_the_first_points_in_reach(seed: int) -> None:
    points, _ = cloud(seed, batch=2)
    centres = gather_points(points, farthest_points(points, 5))
    groups = ball_groups(points, centres, radius=0.7, limit=4)
    for b in range(2):
        for s in range(5):
            reach = ((points[b] - centres[b, s]).norm(dim=-1) <= 0.7).nonzero()[:, 0].tolist()
            assert groups[b, s].tolist() == (reach + 4 * reach[:1])[:4]


def test_clouds_are_centred_scaled_and_coloured() -> None:
    points, colours = normalize_cloud(torch.rand(2, 30, 3) * 7 + 3)
    torch.testing.assert_close(points.mean(1), torch.zeros(2, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(points.norm(dim=-1).amax(1), torch.ones(2))
    assert (colours == MISSING_COLOUR).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: normalize_cloud(torch.zeros(4, 2)), "points: has shape"),
        (lambda: normalize_cloud(torch.ones(4, 3)), "must be finite and not all the same"),
        (lambda: normalize_cloud(torch.full((4, 3), torch.nan)), "must be finite"),
        (lambda: normalize_cloud(torch.rand(4, 3), torch.rand(3, 3)), "colours: has shape"),
        (lambda: farthest_points(torch.rand(4, 3), 2), "points: has shape"),
        (lambda: farthest_points(torch.rand(1, 4, 3), 0), "count: is 0"),
        (lambda: farthest_points(torch.rand(1, 4, 3), 2, start=torch.tensor([4])), "start: must be one index below 4"),
        (
            lambda: ball_groups(torch.rand(1, 4, 3), torch.full((1, 1, 3), 9.0), radius=0.1, limit=2),
            "without any point within 0.1",
        ),
        (lambda: encoder()(torch.rand(1, 4, 3), torch.rand(1, 5, 3)), "points and colours: have shapes"),
    ],
)
def test_wrong_input_is_named(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def published_weights() -> dict[str, torch.Tensor]:
    renames = (
        ("grouping.convs.", "ppat.sa.mlp_convs."),
        ("grouping.norms.", "ppat.sa.mlp_bns."),
        ("patch_norm.", "ppat.lift.2."),
        ("patch_embed.", "ppat.lift.0."),
        ("class_token", "ppat.cls_token"),
        ("blocks.0.attention.norm.", "ppat.transformer.layers.0.0.norm."),
        ("blocks.0.attention.qkv.", "ppat.transformer.layers.0.0.fn.to_qkv."),
        ("blocks.0.attention.out.", "ppat.transformer.layers.0.0.fn.to_out.0."),
        ("blocks.0.mlp.norm.", "ppat.transformer.layers.0.1.norm."),
        ("blocks.0.mlp.expand.", "ppat.transformer.layers.0.1.fn.net.0."),
        ("blocks.0.mlp.contract.", "ppat.transformer.layers.0.1.fn.net.3."),
        ("projection.", "proj."),
    )
    renamed = {}
    for name, tensor in encoder(5).state_dict().items():
        ours, published = next((a, b) for a, b in renames if name.startswith(a))
        renamed[published + name.removeprefix(ours)] = tensor
    return renamed


@torch.no_grad()
@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_names_load(tmp_path: Path, prefix: str) -> None:
    weights = {prefix + name: tensor for name, tensor in published_weights().items()}
    save_file(weights | {"logit_scale": torch.ones(())}, tmp_path / "model.safetensors")
    loaded = load_shape_encoder(tmp_path, config=SMALL)
    points, colours = cloud(2)
    torch.testing.assert_close(loaded(points, colours), encoder(5)(points, colours))
    assert not loaded.training


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"proj.bias": None}, "lacks 1 tensors, the first is proj.bias"),
        ({"ppat.extra": torch.ones(1)}, "no place for, the first is ppat.extra"),
        ({"proj.bias": torch.ones(3)}, "tensor proj.bias has shape"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path: Path, change: dict, message: str) -> None:
    weights = {k: v for k, v in (published_weights() | change).items() if v is not None}
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_shape_encoder(tmp_path, config=SMALL)


def test_published_size_has_the_published_shapes() -> None:
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in ShapeEncoder(config=ShapeEncoderConfig()).state_dict().items()}
    assert shapes["projection.weight"] == (1280, 512)
    assert shapes["patch_embed.weight"] == (512, 259, 1)
    assert shapes["grouping.convs.0.weight"] == (64, 9, 1, 1)
    assert shapes["blocks.11.attention.qkv.weight"] == (3 * 8 * 64, 512)
    assert shapes["blocks.11.mlp.expand.weight"] == (1536, 512)


def published_shapes(config: ShapeEncoderConfig) -> dict[str, torch.Tensor]:
    """Tensors as the published file of that size names and shapes them; one number stands for all of each."""
    sa, width, inner = config.group_width, config.width, config.heads * config.head_width
    prefix = "module.ppat." if config == G14 else "pc_encoder.ppat." if config.embedding else "pc_encoder."
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (width,)}
    for i, (before, after) in enumerate(((9, 64), (64, 64), (64, sa))):
        shapes[f"sa.mlp_convs.{i}.weight"], shapes[f"sa.mlp_convs.{i}.bias"] = (after, before, 1, 1), (after,)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"sa.mlp_bns.{i}.{name}"] = (after,)
        shapes[f"sa.mlp_bns.{i}.num_batches_tracked"] = ()
    shapes |= {"lift.0.weight": (width, sa + 3, 1), "lift.0.bias": (width,)}
    shapes |= {"lift.2.weight": (width,), "lift.2.bias": (width,)}
    for i in range(config.depth):
        layer = f"transformer.layers.{i}"
        for half in (0, 1):
            shapes |= {f"{layer}.{half}.norm.weight": (width,), f"{layer}.{half}.norm.bias": (width,)}
        shapes[f"{layer}.0.fn.to_qkv.weight"] = (3 * inner, width)
        shapes |= {f"{layer}.0.fn.to_out.0.weight": (width, inner), f"{layer}.0.fn.to_out.0.bias": (width,)}
        hidden = config.mlp_width
        shapes |= {f"{layer}.1.fn.net.0.weight": (hidden, width), f"{layer}.1.fn.net.0.bias": (hidden,)}
        shapes |= {f"{layer}.1.fn.net.3.weight": (width, hidden), f"{layer}.1.fn.net.3.bias": (width,)}
    tensors = {
        prefix + name: torch.zeros(shape, dtype=torch.float16 if shape else torch.int64)
        for name, shape in shapes.items()
    }
    if config.embedding:
        home = prefix.removesuffix("ppat.")
        tensors[f"{home}proj.weight"] = torch.zeros(config.embedding, width)
        tensors[f"{home}proj.bias"] = torch.zeros(config.embedding)
    return tensors


@pytest.mark.parametrize(("config", "channels", "up"), [(G14, 1280, "z"), (L14, 768, "y"), (B32, 512, "y")])
def test_published_sizes_are_recognised_by_their_shapes(tmp_path: Path, config, channels: int, up: str) -> None:
    save_file(published_shapes(config) | {"logit_scale": torch.ones(())}, tmp_path / "model.safetensors")
    loaded = load_shape_encoder(tmp_path)
    assert loaded.config == config
    assert (loaded.channels, loaded.config.up) == (channels, up)
    assert loaded.class_token.dtype == torch.float32


def test_other_sizes_must_be_stated(tmp_path: Path) -> None:
    save_file(published_weights(), tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"width 16, depth 1, .* none of OpenShape's G14, L14 and B32"):
        load_shape_encoder(tmp_path)
    save_file({"other": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds no OpenShape point encoder"):
        load_shape_encoder(tmp_path)
