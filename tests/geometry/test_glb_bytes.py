from __future__ import annotations

import hashlib

import numpy as np
import pytest

from interactvlm.geometry.glb_bytes import painted_glb
from interactvlm.geometry.load import load_mesh
from interactvlm.objects.anchors import object_for


@pytest.mark.parametrize("vertices", [4, 70_000])
def test_what_is_written_is_read_back(vertices: int) -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(vertices, 3)).astype(np.float32)
    faces = np.array([[0, 1, 2], [1, 2, vertices - 1]], np.int32)
    mesh = load_mesh(painted_glb(points, faces, rng.random((vertices, 3)), licence="CC0-1.0"), file_type="glb")
    assert np.array_equal(mesh.vertices, points)
    assert np.array_equal(mesh.faces, faces)


def test_generated_objects_make_the_same_bytes_each_time() -> None:
    mesh = object_for("generator/chair/3").mesh
    assert mesh.vertex_colors is not None
    written = {
        hashlib.sha256(painted_glb(mesh.vertices, mesh.faces, mesh.vertex_colors / 255, licence="MIT")).hexdigest()
        for _ in range(2)
    }
    assert len(written) == 1


def test_colours_survive_the_change_to_linear_light() -> None:
    mesh = object_for("generator/bicycle/1").mesh
    assert mesh.vertex_colors is not None
    read = load_mesh(
        painted_glb(mesh.vertices, mesh.faces, mesh.vertex_colors / 255, licence="CC0-1.0"), file_type="glb"
    )
    assert read.vertex_colors is not None
    linear = read.vertex_colors / 255
    back = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    bright = mesh.vertex_colors > 40  # linear bytes are coarse in the dark
    assert np.abs(back - mesh.vertex_colors)[bright].max() < 4
