from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from scipy.sparse import random_array

from interactvlm.errors import InputError
from interactvlm.results.community import community_file
from interactvlm.types import ModelIdentity, Task, TaskResult

TRAINED = ModelIdentity("llava-13b", "0" * 64)
UNTRAINED = ModelIdentity("nano", "0" * 64, trained=False, notice="untrained")


def answer(surface: str, count: int, task: Task = Task.BINARY) -> TaskResult:
    values = np.linspace(0, 1, count, dtype=np.float32)
    return TaskResult(task, "", values, 0.5, surface, "", 1.0)


def read(content: bytes) -> dict[str, np.ndarray]:
    return dict(np.load(io.BytesIO(content), allow_pickle=False))


@pytest.mark.parametrize("surface", ["smpl", "smplh"])
def test_smplh_key_alone_without_a_matrix(surface):
    name, content = community_file(answer(surface, 6890), name="chair__1", model=TRAINED)
    arrays = read(content)
    assert name == "chair__1_hcontact_vertices.npz"
    assert arrays["pred_contact_3d_smplh"].shape == (1, 6890)
    assert arrays["pred_contact_3d_smplh"].dtype == np.float32
    assert "pred_contact_3d_smplx" not in arrays


@pytest.mark.parametrize("dense", [True, False])
def test_smplx_key_by_the_users_matrix(dense):
    matrix = random_array((10475, 6890), density=2e-4, rng=np.random.default_rng(0)).tocsr()
    result = answer("smplh", 6890)
    given = matrix.astype(np.float32).toarray() if dense else matrix
    _, content = community_file(result, name="p", model=TRAINED, smplh_to_smplx=given)
    smplx = read(content)["pred_contact_3d_smplx"]
    assert smplx.shape == (10475,)
    assert smplx.dtype == np.float32
    np.testing.assert_allclose(smplx, np.clip(matrix @ result.probabilities, 0, 1), atol=1e-6)


def test_smplx_body_gives_the_smplx_key():
    name, content = community_file(answer("smplx", 10475), name="p", model=TRAINED)
    assert name == "p_hcontact_vertices.npz"
    assert read(content)["pred_contact_3d_smplx"].shape == (10475,)
    assert "pred_contact_3d_smplh" not in read(content)


def test_anny_is_never_taken_for_smpl():
    name, content = community_file(answer("anny", 10066), name="p", model=UNTRAINED)
    arrays = read(content)
    assert name == "p_hcontact_vertices_anny.npz"
    assert arrays["pred_contact_3d_anny"].shape == (1, 10066)
    assert not any("smpl" in key for key in arrays)
    assert not arrays["trained"]
    assert str(arrays["notice"]) == "untrained"


def test_object_answer():
    name, content = community_file(answer("cafe", 2048, Task.OBJECT), name="mug__p", model=TRAINED)
    assert name == "mug__p_oafford_vertices.npz"
    assert read(content)["pred_contact_3d"].shape == (1, 2048)
    assert read(content)["trained"]


@pytest.mark.parametrize(("surface", "count"), [("smplh", 6889), ("smplx", 6890)])
def test_wrong_count_is_refused(surface, count):
    with pytest.raises(InputError, match=f"{count} vertices"):
        community_file(answer(surface, count), name="p", model=TRAINED)


def test_wrong_matrix_is_refused():
    with pytest.raises(InputError, match="smplh_to_smplx"):
        community_file(
            dataclasses.replace(answer("smplh", 6890)), name="p", model=TRAINED, smplh_to_smplx=np.zeros((6890, 10475))
        )
