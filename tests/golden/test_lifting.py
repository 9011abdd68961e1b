from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from interactvlm.geometry.cameras import HUMAN_VIEWS, OBJECT_VIEWS
from interactvlm.geometry.pixel_maps import PixelMaps
from interactvlm.mvloc.lift import HardLift, MeshLift, PointLift, SoftLift


@pytest.fixture(scope="module")
def recorded(only: Callable[[str], Path]) -> dict[str, np.ndarray]:
    return dict(np.load(only("lifting/lifting_*.npz")))


@pytest.fixture(scope="module")
def body_maps(only: Callable[[str], Path]) -> PixelMaps:
    vertices = np.load(only("body/pixel_to_vertex_map_*.npz"))
    weights = np.load(only("body/bary_coords_map_*.npz"))
    names = [view.name for view in HUMAN_VIEWS]
    return PixelMaps(np.stack([vertices[n] for n in names]), np.stack([weights[n] for n in names]))


@pytest.fixture(scope="module")
def mesh_maps(only: Callable[[str], Path]) -> PixelMaps:
    views = [np.load(only(f"object_mesh/p2vmap_{view.name}_*.npz")) for view in OBJECT_VIEWS]
    return PixelMaps(
        np.stack([v["pixel_to_vertices_map"] for v in views]),
        np.stack([v["bary_coords_map"] for v in views]),
    )


def _sizes(logits: torch.Tensor, lifted: np.ndarray) -> dict[str, int]:
    return {"grid": logits.shape[-1], "count": lifted.shape[1]}


def test_human_soft_lift(recorded: dict[str, np.ndarray], body_maps: PixelMaps) -> None:
    logits = torch.from_numpy(recorded["human_logits"])
    lifted = SoftLift(body_maps.vertex_ids, body_maps.weights, **_sizes(logits, recorded["human_soft"]))(logits).numpy()
    np.testing.assert_allclose(lifted, recorded["human_soft"], atol=1e-5, rtol=0)


def test_older_human_lift(recorded: dict[str, np.ndarray], body_maps: PixelMaps) -> None:
    logits = torch.from_numpy(recorded["human_logits"])
    lifted = HardLift(body_maps.vertex_ids, body_maps.weights, **_sizes(logits, recorded["human_soft"]))(logits).numpy()
    np.testing.assert_array_equal(lifted, recorded["human_hard_v1"])


def test_object_mesh_lift(recorded: dict[str, np.ndarray], mesh_maps: PixelMaps) -> None:
    logits = torch.from_numpy(recorded["object_logits"])
    lifted = MeshLift(mesh_maps.vertex_ids, mesh_maps.weights, **_sizes(logits, recorded["object_mesh_contact"]))(
        logits
    ).numpy()
    np.testing.assert_allclose(lifted, recorded["object_mesh_contact"], atol=1e-5, rtol=0)


def test_object_point_lift(only: Callable[[str], Path], recorded: dict[str, np.ndarray]) -> None:
    mapping = np.stack([np.load(only(f"object_points/p2pmap_{view.name}_*.npz"))["mapping"] for view in OBJECT_VIEWS])
    values = torch.from_numpy(recorded["point_values"])
    # The recorded values were averaged as they are: no pixel counts as inside the render.
    lift = PointLift(mapping, np.zeros(mapping.shape, dtype=bool), **_sizes(values, recorded["object_points_afford"]))
    np.testing.assert_allclose(lift(values).numpy(), recorded["object_points_afford"], atol=1e-5, rtol=0)
