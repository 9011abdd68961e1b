from __future__ import annotations

import numpy as np
import pytest

from interactvlm.body.articulation import load_articulation
from interactvlm.body.inverse import Pose, Targets, solve_pose
from interactvlm.body.landmarks import landmarks_of
from interactvlm.body.rig import load_rig

ARM = tuple(n for n in load_articulation().names if n.endswith(".R") and n.startswith(("arm", "elbow", "wrist")))


def setting() -> tuple:
    body = load_rig().shape({"age": 2 / 3})
    return body, landmarks_of(body), Pose(load_articulation().angles({}))


@pytest.mark.parametrize("point", [(-0.2, 0.3, 0.4), (-0.5, 0.5, 0.2), (-0.3, -0.1, 0.2)])
def test_a_palm_gets_to_a_point_within_reach(point: tuple[float, float, float]):
    body, marks, pose = setting()
    free = tuple(n for n in load_articulation().names if n.endswith(".R") and "curl" not in n and "hip" not in n)
    targets = Targets(marks)
    targets.point("palm.R", np.array(point))
    solved, error = solve_pose(body, pose, targets, free=free, stiffness=0.002)
    turns, heads = solved.frames(body)
    bone = marks.bones["palm.R"]
    assert np.linalg.norm(heads[bone] + turns[bone] @ marks.offsets["palm.R"] - point) == pytest.approx(error, abs=1e-9)
    assert error < 0.02


def test_what_is_not_free_stays_and_limits_hold():
    body, marks, pose = setting()
    articulation = load_articulation()
    targets = Targets(marks)
    targets.point("palm.R", np.array([0.0, 5.0, 5.0]))  # far out of reach
    solved, error = solve_pose(body, pose, targets, free=ARM)
    assert error > 1
    assert (solved.angles >= articulation.low - 1e-12).all()
    assert (solved.angles <= articulation.high + 1e-12).all()
    held = [place for place, name in enumerate(articulation.names) if name not in ARM]
    assert (solved.angles[held] == pose.angles[held]).all()
    assert (solved.place == 0).all()
    assert (solved.turn == 0).all()


def test_the_pelvis_moves_when_it_may():
    body, marks, pose = setting()
    targets = Targets(marks)
    targets.point("crown", np.array([0.3, 1.2, -0.4]))
    solved, error = solve_pose(body, pose, targets, free=(), move_root=True, stiffness=1e-4)
    assert error < 1e-3
    assert np.linalg.norm(solved.place) > 0.1


def test_directions_are_met():
    body, marks, pose = setting()
    targets = Targets(marks)
    targets.direction("head", np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 1.0]))
    free = tuple(n for n in load_articulation().names if n.startswith("neck"))
    solved, _ = solve_pose(body, pose, targets, free=free, stiffness=0.002)
    facing = solved.frames(body)[0][marks.bones["head"]] @ [0, 0, 1]
    assert facing @ (np.array([1, 0, 1]) / np.sqrt(2)) > 0.98


def test_landmarks_lie_where_their_names_say():
    body, marks, _ = setting()
    where = {name: body.heads[marks.bones[name]] + marks.offsets[name] for name in marks.offsets}
    assert where["crown"][1] == pytest.approx(body.a_pose[:, 1].max(), abs=0.02)
    assert where["heel.L"][1] == pytest.approx(body.a_pose[:, 1].min(), abs=0.02)
    assert where["heel.L"][2] < where["ball.L"][2] < where["toe.L"][2]
    assert where["palm.L"][0] > 0 > where["palm.R"][0]
    assert where["mouth"][1] < where["brow"][1] < where["crown"][1]
    assert where["upper_back"][2] < where["chest"][2]
    for hand in marks.hands.values():
        axes = np.stack([hand.along, hand.palm, hand.lateral])
        assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-9)
        assert 0.15 < hand.length < 0.25
