from __future__ import annotations

import math

import pytest
import torch

from benchmarks import soft_silhouette as silhouette
from benchmarks.soft_silhouette import DEPTH_BACKGROUND, find_fragments, nearest_depth, soft_silhouette
from interactvlm.errors import InputError

SIZE = (12, 16)


def square(depth: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    corners = [[3.0, 2.0], [11.0, 2.0], [11.0, 9.0], [3.0, 9.0]]
    screen = torch.tensor([[x, y, depth] for x, y in corners], dtype=torch.float64)
    return screen, torch.tensor([[0, 1, 2], [0, 2, 3]])


def test_a_square_covers_its_pixels() -> None:
    screen, faces = square()
    alpha = soft_silhouette(find_fragments(screen, faces, SIZE, sigma=1e-6), screen, faces, sigma=1e-6)
    expected = torch.zeros(SIZE, dtype=torch.float64)
    expected[2:9, 3:11] = 1
    torch.testing.assert_close(alpha, expected, atol=1e-3, rtol=0)


def test_coverage_follows_the_distance_to_the_outline() -> None:
    screen, faces = square()
    sigma = 0.02
    alpha = soft_silhouette(find_fragments(screen, faces[:1], SIZE, sigma=sigma), screen, faces[:1], sigma=sigma)
    outside = (0.5 * 2 / min(SIZE)) ** 2  # pixel (1, 9) lies half a pixel above the upper edge
    assert alpha[1, 9].item() == pytest.approx(1 / (1 + math.exp(outside / sigma)))


def test_gradient_agrees_with_finite_differences() -> None:
    screen, faces = square()
    screen = screen + 0.1 * torch.randn(screen.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fragments = find_fragments(screen, faces, SIZE, sigma=0.01)
    assert torch.autograd.gradcheck(
        lambda s: soft_silhouette(fragments, s, faces, sigma=0.01), screen.requires_grad_(), atol=1e-4
    )


def test_winding_and_batches_of_work_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, faces = square()
    alpha = soft_silhouette(find_fragments(screen, faces, SIZE), screen, faces)
    flipped = faces.flip(1)
    torch.testing.assert_close(soft_silhouette(find_fragments(screen, flipped, SIZE), screen, flipped), alpha)
    monkeypatch.setattr(silhouette, "_PAIRS_PER_CHUNK", 7)
    torch.testing.assert_close(soft_silhouette(find_fragments(screen, faces, SIZE), screen, faces), alpha)


def test_only_the_nearest_faces_are_kept() -> None:
    near, faces = square(1.0)
    far, _ = square(3.0)
    screen, both = torch.cat([far, near]), torch.cat([faces, faces + 4])
    fragments = find_fragments(screen, both, SIZE, sigma=1e-6, faces_per_pixel=1)
    assert fragments.pixel.unique_consecutive(return_counts=True)[1].max() == 1
    assert (fragments.face >= 2).all()
    depth = nearest_depth(find_fragments(screen, both, SIZE, sigma=1e-6))
    assert depth[5, 5].item() == pytest.approx(1.0)
    assert depth[0, 0].item() == DEPTH_BACKGROUND


@pytest.mark.parametrize("depth", [-1.0, 0.0, math.nan])
def test_faces_behind_the_camera_or_out_of_sight_leave_nothing(depth: float) -> None:
    screen, faces = square()
    screen[0, 2] = depth
    screen[3] += 1000
    fragments = find_fragments(screen, faces, SIZE)
    assert len(fragments.pixel) == 0
    assert soft_silhouette(fragments, screen, faces).abs().max() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"screen": torch.zeros(4, 2)}, "screen: has shape"),
        ({"faces": torch.zeros(2, 3)}, "faces: has shape"),
        ({"size": (0, 4)}, "size: is"),
        ({"sigma": 0.0}, "sigma: is 0.0"),
        ({"faces_per_pixel": 0}, "faces_per_pixel: is 0"),
    ],
)
def test_wrong_input_is_named(change: dict, message: str) -> None:
    screen, faces = square()
    arguments = {"screen": screen, "faces": faces, "size": SIZE, "sigma": 1e-4, "faces_per_pixel": 5} | change
    with pytest.raises(InputError, match=message):
        find_fragments(
            arguments["screen"],
            arguments["faces"],
            arguments["size"],
            sigma=arguments["sigma"],
            faces_per_pixel=arguments["faces_per_pixel"],
        )
