from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from interactvlm.errors import InputError
from interactvlm.fitting.scene import load_scene, surface_centroid
from interactvlm.geometry.mesh import Mesh

CASE = Path(__file__).parents[1] / "golden" / "data" / "fitting" / "case_0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CASE, tmp_path / "case"))


def test_a_whole_folder_loads(folder: Path) -> None:
    scene = load_scene(folder)
    assert len(scene.body_contact) == len(scene.body.vertices)
    assert len(scene.object_contact) == len(scene.object_mesh.vertices)
    assert scene.object_mask.any()
    assert len(scene.object_box) == 4


def test_surface_centroid_weighs_by_area() -> None:
    corners = np.array([[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [0, 0, 5], [0.1, 0, 5], [0, 0.1, 5]], np.float32)
    square = Mesh(corners[:4], np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    np.testing.assert_allclose(surface_centroid(square), [1, 1, 0])
    with_speck = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6]], np.int32))
    np.testing.assert_allclose(surface_centroid(with_speck), [1, 1, 0], atol=0.01)


def second_body(folder: Path) -> None:
    shutil.copy(folder / "osx_human2.npz", folder / "osx_human3.npz")


def short_contact(folder: Path) -> None:
    np.savez(folder / "hcontact_vertices.npz", pred_contact_3d_smplx=np.zeros(3, np.float32))


def contact_of_two(folder: Path) -> None:
    values = np.load(folder / "ocontact_vertices.npz")["pred_contact_3d"]
    np.savez(folder / "ocontact_vertices.npz", pred_contact_3d=values + 2)


def other_size(folder: Path) -> None:
    Image.new("L", (30, 30), 255).save(folder / "human_mask.png")


def empty_mask(folder: Path) -> None:
    with Image.open(folder / "object_mask.png") as image:
        size = image.size
    Image.new("L", size, 0).save(folder / "object_mask.png")


def flat_box(folder: Path) -> None:
    arrays = dict(np.load(folder / "osx_human2.npz"))
    np.savez(folder / "osx_human2.npz", **(arrays | {"bbox_2": np.zeros((1, 4))}))


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def broken(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(b"{]")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (second_body, "holds 2 files named osx_human"),
        (short_contact, "has 3 contact values for"),
        (contact_of_two, r"outside \[0, 1\]"),
        (other_size, "object_mask.png: is"),
        (empty_mask, "object_mask.png: marks no pixel"),
        (flat_box, "box: is 0.0 x 0.0 pixels"),
        (without("osx_human2.npz"), "holds 0 files named osx_human"),
        (without("object_mesh.obj"), "object_mesh.obj"),
        (without("object_mask.png"), "object_mask.png"),
        (without("ocontact_vertices.npz"), "ocontact_vertices.npz"),
        (without("object_detection.json"), "object_detection.json: does not exist"),
        (broken("object_detection.json"), "must be"),
        (broken("object_mesh.obj"), "object_mesh.obj"),
        (broken("osx_human2.npz"), "osx_human2.npz"),
    ],
)
def test_a_damaged_folder_gives_one_clear_error(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        load_scene(folder)


FILES = sorted(path.name for path in CASE.iterdir() if path.name != "expected.npz")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FILES), st.integers(0, 10**6), st.binary(min_size=1, max_size=8), st.booleans())
def test_any_damage_loads_or_is_named(folder: Path, name: str, place: int, noise: bytes, cut: bool) -> None:
    whole = (CASE / name).read_bytes()
    at = place % len(whole)
    (folder / name).write_bytes(whole[:at] if cut else whole[:at] + noise + whole[at + len(noise) :])
    try:
        scene = load_scene(folder)
        assert np.isfinite(scene.body.vertices).all()
    except InputError as error:
        assert str(error)  # noqa: PT017 -- either outcome is right
    finally:
        (folder / name).write_bytes(whole)
