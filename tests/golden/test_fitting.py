from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.fitting_reference import ReleaseScene, initial_translation, prepare_scene, release_energy, release_icp
from interactvlm.fitting.rotations import rotation_from_6d, rotation_to_6d
from interactvlm.fitting.scene import FittingScene, load_scene

VALUE = 1e-4
GRADIENT = 1e-3


@dataclass(frozen=True)
class Case:
    loaded: FittingScene
    scene: ReleaseScene
    expected: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def cases(golden: Path) -> list[Case]:
    found = []
    for folder in sorted((golden / "fitting").glob("case_*")):
        loaded = load_scene(folder)
        found.append(Case(loaded, prepare_scene(loaded), dict(np.load(folder / "expected.npz"))))
    assert found
    return found


def close(ours: Tensor | np.ndarray | tuple | float, recorded: np.ndarray, relative: float = VALUE) -> None:
    values = np.asarray(ours.detach() if isinstance(ours, Tensor) else ours).reshape(recorded.shape)
    limit = relative * max(float(np.abs(recorded).max()), 1e-3)
    assert np.abs(values - recorded).max() <= limit, np.abs(values - recorded).max() / limit


def test_scene_is_loaded_and_centred_as_recorded(cases: list[Case]) -> None:
    for case in cases:
        expected = case.expected
        assert case.loaded.object_mask.shape == tuple(expected["image_size"])
        close(case.scene.camera.focal, expected["focal_length"], 1e-6)
        close(case.scene.camera.principal, expected["principal_point"], 1e-6)
        close(case.scene.body_vertices, expected["human_vertices"])
        close(case.scene.body_normals, expected["human_normals"])
        close(case.scene.body_offset, expected["human_centroid_offset"])
        close(case.scene.object_vertices, expected["object_vertices"])
        close(case.scene.object_normals, expected["object_normals"])
        np.testing.assert_array_equal(case.loaded.body_contact, expected["human_contact"])
        np.testing.assert_array_equal(case.loaded.object_contact, expected["object_contact_loaded"])
        np.testing.assert_array_equal(case.scene.object_contact, expected["object_contact_used"])


@pytest.mark.parametrize("setting", ["with_centroid_init", "without_centroid_init"])
def test_initial_pose_and_icp(cases: list[Case], setting: str) -> None:
    for case in cases:
        expected = {k.partition("/")[2]: v for k, v in case.expected.items() if k.startswith(setting)}
        start = initial_translation(case.scene) if setting == "with_centroid_init" else torch.zeros(3)
        close(start, expected["init_translation"])
        close(rotation_to_6d(torch.eye(3)), expected["init_rot6d"])
        icp = release_icp(case.scene)
        assert len(icp.history) == expected["icp_iterations"]
        assert icp.converged == expected["icp_converged"]
        last = icp.history[-1]
        close(last.rotation, expected["icp_R"])
        close(last.translation, expected["icp_T"])
        close(last.translation, expected["icp_translation"])
        close(rotation_to_6d(last.rotation), expected["icp_rot6d"])
        close(rotation_from_6d(torch.from_numpy(expected["icp_rot6d"])), expected["icp_R"])
        close(last.rmse, expected["icp_rmse"])
        close(torch.stack([step.rotation for step in icp.history]), expected["icp_history_R"])
        close(torch.stack([step.translation for step in icp.history]), expected["icp_history_T"])
        np.testing.assert_array_equal(case.scene.object_contact, expected["object_contact_after_filter"])


def test_energies_and_their_gradients(cases: list[Case]) -> None:
    for case in cases:
        names = sorted({name.partition("/")[0] for name in case.expected if name.startswith("pose_")})
        assert names
        for name in names:
            expected = {k.partition("/")[2]: v for k, v in case.expected.items() if k.startswith(f"{name}/")}
            pose = {k: torch.from_numpy(expected[k].copy()).requires_grad_() for k in ("rot6d", "translation", "scale")}
            energy = release_energy(case.scene, pose["rot6d"], pose["translation"], pose["scale"])
            close(energy.object_vertices, expected["object_vertices"])
            assert np.abs(energy.silhouette.detach().numpy() - expected["silhouette"]).max() <= 1e-3
            assert np.abs(energy.depth01.numpy() - expected["depth01"]).max() <= 1e-3
            close(energy.silhouette_centroid, expected["centroid"])
            close(energy.target_centroid, case.expected["target_centroid"])
            close(energy.mask, expected["mask_loss"])
            close(energy.centroid, expected["centroid_loss"])
            close(energy.contact, expected["contact_loss"])
            close(energy.total, expected["total"])
            for part, value in (("contact", energy.contact), ("total", energy.total)):
                gradients = torch.autograd.grad(value, list(pose.values()), retain_graph=True)
                for parameter, gradient in zip(pose, gradients, strict=True):
                    close(gradient, expected[f"grad_{part}_{parameter}"], GRADIENT)
