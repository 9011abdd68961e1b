"""`predict` with a checkpoint of the 2D human-mask model: files with masks on the photo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from interactvlm.config import Settings
from interactvlm.errors import CheckpointError, DeadlineExceededError, QuestionError
from interactvlm.photo_mask import PhotoMaskModel, holds_photo_masks
from interactvlm.pipeline import ObjectQuery
from interactvlm.types import Box, Task, WholePhoto

DATA = Path(__file__).parents[1] / "golden" / "data"
SIZE = (80, 120)
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded contact checkpoint with one view, the photo."""
    made = tmp_path_factory.mktemp("models") / "hcontact-2d"
    shutil.copytree(DATA / "contact_release", made)
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps({**config, "multiview_channels": 1, "multiview_cam_cond": False}))
    (tower,) = DATA.glob("clip-vit-*")
    (made.parent / tower.name).symlink_to(tower)
    return made


@pytest.fixture(scope="module")
def settings(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(model=str(folder), device="cpu", cache_dir=str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def model(settings: Settings) -> PhotoMaskModel:
    return PhotoMaskModel.load(settings)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def test_which_checkpoints_answer_on_the_photo(settings: Settings) -> None:
    assert holds_photo_masks(settings)
    assert not holds_photo_masks(Settings(model="nano"))
    assert not holds_photo_masks(Settings(model=str(DATA / "contact_release")))
    assert not holds_photo_masks(Settings(model="no such folder"))
    with pytest.raises(CheckpointError, match="answers in 4 views"):
        PhotoMaskModel.load(Settings(model=str(DATA / "contact_release"), device="cpu"))


def test_the_command_writes_masks(
    run_command: Run, folder: Path, tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERACTVLM_CACHE_DIR", str(tmp_path / "cache"))
    photo, out = tmp_path / "photo.png", tmp_path / "out"
    Image.fromarray(pixels).save(photo)
    asked = ["--object=chair", "--object=bicycle", "--person=whole", "--model", folder, "--device=cpu", "--fast"]
    finished = run_command("predict", photo, *asked, "--out", out, "--json")
    assert finished.code == 0, finished.err
    said = json.loads(finished.out)
    names = {f"{name}__photo_hcontact_mask{kind}.png" for name in ("chair", "bicycle") for kind in ("", "_overlay")}
    assert {path.name for path in out.iterdir()} == {Path(p).name for p in said["files"]}
    assert {path.name for path in out.iterdir()} == names | {"photo.json", "photo.npz"}
    stored = np.load(out / "photo.npz")
    assert json.loads((out / "photo.json").read_text())["format"] == "interactvlm.photo_mask/1"
    for index, result in enumerate(said["results"]):
        probabilities = stored[f"probabilities_{index}"]
        assert probabilities.shape == SIZE
        assert result["contact_token"] == "[SEG]"
        with Image.open(out / f"{result['object']}__photo_hcontact_mask.png") as image:
            mask = np.asarray(image)
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).sum() == result["contact_pixels"]
        np.testing.assert_array_equal(mask > 0, probabilities > 0.5)
    table = run_command("predict", photo, *asked, "--out", out)
    assert "semantic chair: " in table.out


def test_masks_lie_where_the_model_looked(model: PhotoMaskModel, pixels: np.ndarray) -> None:
    box = Box(60, 20, 90, 70)
    answer = model.predict(pixels, objects=[ObjectQuery("chair")], person=box, fast=True)
    (result,) = answer.results
    assert result.contact_token == "[SEG]"
    assert answer.region is not None
    inside = np.zeros(SIZE, dtype=bool)
    inside[int(answer.region.top) : int(answer.region.bottom), int(answer.region.left) : int(answer.region.right)] = 1
    assert not inside.all()
    assert (result.probabilities[inside] > 0).all()
    assert not result.probabilities[~inside].any()
    assert set(answer.timings) == {"person", "language", "localization"}


def test_questions_about_objects_and_deadlines(model: PhotoMaskModel, pixels: np.ndarray) -> None:
    from interactvlm.geometry.mesh import PointCloud

    cup = ObjectQuery("cup", PointCloud(np.eye(3, dtype=np.float32)))
    with pytest.raises(QuestionError, match="only the human head"):
        model.predict(pixels, objects=[cup], tasks=[Task.OBJECT])
    with pytest.raises(DeadlineExceededError):
        model.predict(pixels, objects=[ObjectQuery("cup")], person=WholePhoto(), timeout=1e-9)


def test_bodies_are_refused(run_command: Run, folder: Path, tmp_path: Path, pixels: np.ndarray) -> None:
    photo, out, matrix = tmp_path / "photo.png", tmp_path / "out", tmp_path / "matrix.npz"
    Image.fromarray(pixels).save(photo)
    finished = run_command("predict", photo, "--model", folder, "--smplx-matrix", matrix, "--out", out)
    assert finished.code == 2
    assert "--smplx-matrix: " in finished.err
    assert not out.exists()
