from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from interactvlm.errors import CancelledError, InputError
from interactvlm.fitting.batch import SceneBatch, SizePrior
from interactvlm.fitting.optimiser import FitConfig, FitResult, Phase, Progress, fit
from interactvlm.fitting.rotations import rotation_angle
from interactvlm.geometry.mesh import Mesh

PRIOR = SizePrior(0.44, 0.05)
QUICK = FitConfig(
    rotations=24,
    phases=(
        Phase("contact", 10, {"contact": 3.0, "centroid": 1.0, "size": 0.02}, 6, 4, 0.04),
        Phase("image", 20, {"mask": 1.0, "contact": 3.0}, 4, 2, 0.04),
    ),
)


def errors(known, result: FitResult, scene: int) -> tuple[float, float]:
    """Degrees, and metres between the placed objects' middles."""
    pose = result.best.each(lambda values: values[scene].double())
    vertices = torch.tensor(known.scene.object_mesh.vertices).double()
    truth = vertices.numpy() @ known.rotation + known.translation
    shift = np.linalg.norm(pose.apply(vertices).numpy().mean(0) - truth.mean(0))
    return math.degrees(rotation_angle(pose.rotation, torch.tensor(known.rotation))), float(shift)


def test_known_poses_are_recovered(make_scene: Callable) -> None:
    known = [make_scene(seed) for seed in (0, 1, 2)]
    batch = SceneBatch.build([one.scene for one in known], [PRIOR] * 3, side=48, points=48)
    result = fit(batch, FitConfig(rotations=48))
    for scene, one in enumerate(known):
        degrees, metres = errors(one, result, scene)
        assert degrees <= 10
        assert metres <= 0.05
        assert result.best.scale[scene].item() == pytest.approx(1, abs=0.1)
    assert (result.energy.diff(dim=1) >= 0).all()
    assert (result.steps > 0).all()
    assert set(result.terms) == {"mask", "centroid", "contact", "penetration", "size"}


def test_the_same_seed_gives_the_same_and_company_changes_nothing(make_scene: Callable) -> None:
    scenes = [make_scene(seed).scene for seed in (3, 4)]
    # In double precision, where sums of another order differ by nothing that descent could enlarge.
    both = SceneBatch.build(scenes, [PRIOR, None], side=24, points=16, dtype=torch.float64)
    alone = SceneBatch.build(scenes[1:], [None], side=24, points=16, dtype=torch.float64)
    first, again = fit(both, QUICK), fit(both, QUICK)
    assert torch.equal(first.poses.rotation, again.poses.rotation)
    assert torch.equal(first.energy, again.energy)
    single = fit(alone, QUICK)
    torch.testing.assert_close(first.poses.translation[1], single.poses.translation[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(first.energy[1], single.energy[0], atol=1e-5, rtol=0)


def test_finished_scenes_leave(make_scene: Callable) -> None:
    scenes = [make_scene(seed).scene for seed in (0, 5)]
    batch = SceneBatch.build(scenes, [PRIOR] * 2, side=24, points=16)
    seen: list[Progress] = []
    patient = dataclasses.replace(QUICK, phases=(dataclasses.replace(QUICK.phases[1], steps=200, starts=2),))
    result = fit(batch, dataclasses.replace(patient, tolerance=0.5, patience=20), progress=seen.append)
    assert (result.steps < 200).all()
    assert seen[-1].step < 200
    assert result.energy.isfinite().all()


def test_without_contact_the_mask_alone_places_the_object(make_scene: Callable) -> None:
    scene = make_scene(6).scene
    bare = dataclasses.replace(scene, body_contact=np.zeros_like(scene.body_contact))
    batch = SceneBatch.build([bare], [PRIOR], side=32, points=16)
    result = fit(batch, QUICK)
    assert result.terms["contact"].abs().max() == 0
    assert result.terms["mask"][0, 0] < 0.6
    assert result.poses.translation.isfinite().all()


def test_a_given_rotation_is_tried(make_scene: Callable) -> None:
    known = make_scene(7)
    batch = SceneBatch.build([known.scene], [PRIOR], side=32, points=32)
    given = torch.tensor(known.rotation)[None, None]
    result = fit(batch, dataclasses.replace(QUICK, rotations=1), given=given)
    assert errors(known, result, 0)[0] <= 10


def test_whoever_watches_can_stop_it(make_scene: Callable) -> None:
    batch = SceneBatch.build([make_scene(8).scene], [PRIOR], side=24, points=16)

    def stop(progress: Progress) -> None:
        raise CancelledError(progress.phase)

    with pytest.raises(CancelledError):
        fit(batch, QUICK, progress=stop)


def test_an_object_behind_the_camera_does_no_harm(make_scene: Callable) -> None:
    scene = make_scene(9).scene
    behind = Mesh((scene.body.vertices - [0, 0, 9]).astype(np.float32), scene.body.faces)
    batch = SceneBatch.build([dataclasses.replace(scene, body=behind)], [PRIOR], side=24, points=16)
    result = fit(batch, QUICK)
    assert result.poses.translation.isfinite().all()
    assert result.energy.isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "image: has 0 steps"),
        ({"keep": 9}, "image: has"),
        ({"weights": {"beauty": 1.0}}, "weighs beauty"),
        ({"weights": {}}, "weighs nothing"),
    ],
)
def test_a_wrong_phase_is_named(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(QUICK.phases[1], **change)
