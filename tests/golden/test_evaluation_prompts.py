"""No truth reaches a released model: the ids and pixels it is given are the same whatever is annotated."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample, HumanContact, TextAnswer
from interactvlm.evaluation.batching import BatchedLanguage
from interactvlm.evaluation.inquiry import inquiry_of
from interactvlm.evaluation.runner import EvaluatedModel, predict_all
from interactvlm.local import LocalLocalization, LocalPeople, Worker
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.mvloc.surfaces import OfficialBody
from interactvlm.pipeline import Pipeline
from interactvlm.types import ModelIdentity, Task
from interactvlm.vlm.model import ContactVLM


@pytest.fixture(scope="module")
def body(golden: Path) -> BodyTemplate:
    mesh = np.load(golden / "body" / "mesh.npz")
    count = len(mesh["vertices"])
    return BodyTemplate(
        topology="smplh",
        vertices=mesh["vertices"].astype(np.float32),
        faces=mesh["faces"].astype(np.int32),
        part_index=(np.arange(count) * 15 // count).astype(np.uint8),
    )


@pytest.fixture(scope="module")
def vlm(only: Callable[[str], Path], release: dict[str, Path]) -> ContactVLM:
    return ContactVLM.from_folder(release["contact"], vision_tower=only("clip-vit-*"))


@pytest.fixture(scope="module")
def model(
    vlm: ContactVLM,
    body: BodyTemplate,
    release: dict[str, Path],
    official_body: OfficialBody,
    tmp_path_factory: pytest.TempPathFactory,
) -> EvaluatedModel:
    worker = Worker()
    localizer = ContactLocalizer.from_folder(
        release["contact"], body=official_body, cache_dir=tmp_path_factory.mktemp("views")
    )
    language = BatchedLanguage(vlm, ModelIdentity("contact_release", "0" * 64), worker)
    pipeline = Pipeline(
        language=language,
        localization=LocalLocalization(localizer, body, worker),
        people=LocalPeople(None, worker),
    )
    return EvaluatedModel(pipeline, tasks=(Task.BINARY, Task.SEMANTIC, Task.SCENE), together=language.together)


def photos(samples: Sequence[tuple[dict, dict]], golden: Path) -> list[bytes]:
    found = []
    for name in dict.fromkeys(entry["image"] for entry, _ in samples):
        stream = io.BytesIO()
        Image.open(golden / "images" / name).convert("RGB").save(stream, format="PNG")
        found.append(stream.getvalue())
    return found


def annotated(pictures: list[bytes], body: BodyTemplate, *, seed: int, words: str) -> list[ContactSample]:
    rng = np.random.default_rng(seed)

    def contact(task: Task, name: str = "") -> HumanContact:
        ids = np.flatnonzero(rng.random(body.vertex_count) < rng.random() * 0.3).astype(np.int32)
        return HumanContact(task, name, ids, "smpl", category=words)

    return [
        ContactSample(
            sample_id=str(index),
            photo=picture,
            human=(contact(Task.BINARY), contact(Task.SEMANTIC, "bicycle"), contact(Task.SEMANTIC, "chair")),
            texts=(TextAnswer("body parts", f"Is it {words}?", words),),
            tags={"template": words, "hand": words},
        )
        for index, picture in enumerate(pictures)
    ]


@pytest.fixture
def heard(vlm: ContactVLM, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every id that is embedded and every pixel that is looked at."""
    log: list[bytes] = []

    def listen(method: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
        def wrapped(values: torch.Tensor) -> torch.Tensor:
            log.append(values.cpu().numpy().tobytes())
            return method(values)

        return wrapped

    monkeypatch.setattr(vlm.network, "embed", listen(vlm.network.embed))
    monkeypatch.setattr(vlm.vision, "forward", listen(vlm.vision.forward))
    return log


def test_prompts_and_predictions_do_not_know_the_truth(
    model: EvaluatedModel,
    body: BodyTemplate,
    heard: list[bytes],
    samples: dict[str, list[tuple[dict, dict]]],
    golden: Path,
    tmp_path: Path,
) -> None:
    pictures = photos(samples["contact"], golden)
    runs = []
    for seed, words in ((1, "left hand"), (2, "right foot")):
        heard.clear()
        inquiries = [inquiry_of(sample) for sample in annotated(pictures, body, seed=seed, words=words)]
        predict_all(model, inquiries, tmp_path / words, photos_per_batch=2)
        files = {path.name: path.read_bytes() for path in (tmp_path / words).iterdir()}
        runs.append((list(heard), files))
    assert len(runs[0][0]) > 2
    assert runs[0] == runs[1]


def test_a_batch_of_photos_answers_as_one_by_one(
    model: EvaluatedModel,
    body: BodyTemplate,
    samples: dict[str, list[tuple[dict, dict]]],
    golden: Path,
    tmp_path: Path,
) -> None:
    pictures = photos(samples["contact"], golden)
    inquiries = [inquiry_of(sample) for sample in annotated(pictures, body, seed=1, words="")]
    stores = [predict_all(model, inquiries, tmp_path / str(n), photos_per_batch=n) for n in (1, len(inquiries))]
    for alone, together in zip(*stores, strict=True):
        assert (alone.key, alone.text, alone.error) == (together.key, together.text, "")
        np.testing.assert_allclose(alone.values, together.values, atol=2e-3)
