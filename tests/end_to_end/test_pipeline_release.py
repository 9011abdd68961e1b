"""The whole pipeline on the recorded release folders: what the stages do one by one holds through one call, too."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.errors import CancelledError, DeadlineExceededError, InteractVLMError, QuestionError
from interactvlm.facade import InteractVLM
from interactvlm.geometry.mesh import Mesh
from interactvlm.local import LocalLanguage, LocalLocalization, LocalPeople, Worker
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.mvloc.surfaces import OfficialBody
from interactvlm.pipeline import ObjectQuery, Pipeline
from interactvlm.stages import CallContext
from interactvlm.types import ModelIdentity, Task, WholePhoto
from interactvlm.vlm.model import ContactVLM

GOLDEN = Path(os.environ.get("INTERACTVLM_GOLDEN") or Path(__file__).parents[1] / "golden" / "data")


@pytest.fixture(scope="module")
def body() -> BodyTemplate:
    mesh = np.load(GOLDEN / "body" / "mesh.npz")
    count = len(mesh["vertices"])
    return BodyTemplate(
        topology="smplh",
        vertices=mesh["vertices"].astype(np.float32),
        faces=mesh["faces"].astype(np.int32),
        part_index=(np.arange(count) * 15 // count).astype(np.uint8),
    )


@pytest.fixture(scope="module")
def official_body_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded body as a user's folder: the maps are enlarged to the renders' size, as the runs used them."""
    folder = tmp_path_factory.mktemp("body")
    for path in (GOLDEN / "body").glob("*.png"):
        (folder / path.name).symlink_to(path.resolve())
        with Image.open(path) as render:
            side = render.width
    for kind in ("pixel_to_vertex_map", "bary_coords_map"):
        (path,) = (GOLDEN / "body").glob(f"{kind}_*.npz")
        stored = np.load(path)
        times = {name: side // len(stored[name]) for name in stored.files}
        large = {name: stored[name].repeat(n, axis=0).repeat(n, axis=1) for name, n in times.items()}
        np.savez(folder / f"{kind}_1024.npz", **large)
    return folder


@pytest.fixture(scope="module")
def model(
    body: BodyTemplate, official_body_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InteractVLM]:
    release = GOLDEN / "contact_release"
    worker = Worker()
    localizer = ContactLocalizer.from_folder(
        release, body=OfficialBody(official_body_folder, body.vertex_count), cache_dir=tmp_path_factory.mktemp("views")
    )
    (tower,) = GOLDEN.glob("clip-vit-*")
    vlm = ContactVLM.from_folder(release, vision_tower=tower)
    pipeline = Pipeline(
        language=LocalLanguage(vlm, ModelIdentity("contact_release", "0" * 64), worker),
        localization=LocalLocalization(localizer, body, worker),
        people=LocalPeople(None, worker),
    )
    with InteractVLM(pipeline, closing=worker.close) as loaded:
        yield loaded


def _samples() -> list[dict[str, str]]:
    return list(json.loads((GOLDEN / "contact_expected" / "samples.json").read_text()))


def _photo(sample: dict[str, str]) -> np.ndarray:
    return np.asarray(Image.open(GOLDEN / "images" / sample["image"]).convert("RGB"))


@pytest.mark.parametrize("sample", _samples(), ids=lambda sample: sample["object"])
def test_one_call_gives_the_recorded_contact(model: InteractVLM, sample: dict[str, str]) -> None:
    expected = np.load(GOLDEN / "contact_expected" / sample["file"])
    answer = model.predict(_photo(sample), objects=[sample["object"]], person=WholePhoto())
    (result,) = answer.results
    assert np.abs(result.probabilities - expected["gen_contact_3d"]).max() < 1e-4
    assert result.text.split() == [*sample["generated_text"].split("[SEG]")[0].split(), "[SEG]"]
    assert set(result.vertex_ids) == set(np.flatnonzero(result.probabilities >= 0.5))
    assert set(answer.timings) == {"person", "language", "localization"}
    assert answer.region is None


def test_many_objects_in_one_call_answer_as_one_by_one(model: InteractVLM) -> None:
    photo = _photo(_samples()[0])
    names = ["bicycle", "chair", "tennis_racket"]
    together = model.predict(photo, objects=names, tasks=["semantic", "binary", "scene"], person=WholePhoto())
    assert [(r.task, r.object_name) for r in together.results] == [
        *((Task.SEMANTIC, name) for name in names),
        (Task.BINARY, ""),
        (Task.SCENE, ""),
    ]
    for result in together.results[:3]:
        (alone,) = model.predict(photo, objects=[result.object_name], person=WholePhoto()).results
        assert alone.text == result.text
        assert np.abs(alone.probabilities - result.probabilities).max() < 1e-4


def test_a_head_the_checkpoint_lacks_is_refused(model: InteractVLM) -> None:
    triangle = Mesh(vertices=np.eye(3, dtype=np.float32), faces=np.array([[0, 1, 2]], dtype=np.int32))
    with pytest.raises(QuestionError, match="only the human head"):
        model.predict(_photo(_samples()[0]), objects=[ObjectQuery("cup", triangle)], tasks=[Task.OBJECT])


@pytest.mark.parametrize(
    ("tasks", "message"),
    [(["semantic"], "semantic needs at least one object name"), (["object"], "needs at least one object with a mesh"),
     ([], "nothing is asked"), (["reading"], "known: binary")],
)  # fmt: skip
def test_unanswerable_tasks_are_refused(model: InteractVLM, tasks: list[str], message: str) -> None:
    with pytest.raises(QuestionError, match=message):
        model.predict(_photo(_samples()[0]), tasks=tasks)


def test_too_many_questions_are_refused(model: InteractVLM) -> None:
    with pytest.raises(QuestionError, match="ask 65 questions; the limit is 64 a photo"):
        model.predict(_photo(_samples()[0]), objects=[f"thing {i}" for i in range(65)])


def test_a_passed_deadline_is_told(model: InteractVLM) -> None:
    with pytest.raises(DeadlineExceededError):
        model.predict(_photo(_samples()[0]), objects=["chair"], timeout=0.0)


async def test_a_cancelled_call_never_starts(model: InteractVLM) -> None:
    context = CallContext()
    context.cancel()
    with pytest.raises(CancelledError):
        await model.pipeline.predict(_photo(_samples()[0]), context=context)


def test_without_a_detector_the_whole_photo_is_used_and_said(model: InteractVLM) -> None:
    answer = model.predict(_photo(_samples()[0]), objects=["chair"])
    assert answer.region is None
    assert answer.notices == (
        "No person detector is installed (pip install 'interactvlm[detection]'): the whole photo was used.",
    )


def test_a_closed_model_says_so(model: InteractVLM) -> None:
    closed = InteractVLM(model.pipeline)
    closed.close()
    with pytest.raises(InteractVLMError, match="this model was closed"):
        closed.predict(_photo(_samples()[0]))
