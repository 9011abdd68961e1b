from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from interactvlm.body.template import BodyTemplate
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh
from interactvlm.training.examples import ExampleBuilder, Lesson, QuestionMix
from interactvlm.training.packing import IGNORED_LABEL, IMAGE_TOKEN
from interactvlm.types import Task
from interactvlm.vlm.tokenizer import load_tokenizer

Make = Callable[..., ContactSample]


@pytest.fixture(scope="module")
def builder(nano_folder: Path) -> ExampleBuilder:
    """nano's wording on a body of fifteen vertices, one a part."""
    return ExampleBuilder(
        config=ReleaseConfig.from_folder(nano_folder),
        tokenizer=load_tokenizer(nano_folder, ReleaseConfig.from_folder(nano_folder)),
        topology="anny",
        part_index=np.arange(15, dtype=np.uint8),
    )


def sample(**changes: Any) -> ContactSample:
    def human(task: Task, name: str, *ids: int) -> HumanContact:
        return HumanContact(task, name, np.array(ids, np.int32), "anny")

    surface = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32))
    values: dict[str, Any] = {
        "human": (
            human(Task.SEMANTIC, "mug", 4), human(Task.SEMANTIC, "bus"), human(Task.BINARY, "", 4, 5, 6),
            human(Task.SCENE, "", 5, 6),
        ),
        "objects": (ObjectContact("mug", surface, np.array([1, 0.5, 0], np.float32), "grasp"),),
    }  # fmt: skip
    return ContactSample("s", b"photo", **{**values, **changes})


def all_lessons(builder: ExampleBuilder, one: ContactSample, **mix: Any) -> list[Lesson]:
    return builder.lessons(one, QuestionMix(**{"count": 20, "parts_dropout": 0.0, **mix}), random.Random(0))


def test_answers_in_the_papers_words(builder: ExampleBuilder) -> None:
    found = {lesson.after.split("\n")[1]: lesson for lesson in all_lessons(builder, sample())}
    region = ", and the contact region is [SEG]."
    expected = {
        "Which body parts touch the mug?<|im_end|>": "The contacting body parts are right hand" + region,
        "Which body parts touch the bus?<|im_end|>": "The contacting body parts are none.",
        "Which body parts touch the any object?<|im_end|>": "The contacting body parts are right hand, left foot, "
        "right foot" + region,
        "Which body parts touch the scene?<|im_end|>": "The contacting body parts are left foot, right foot" + region,
        "How is the mug used, and where?<|im_end|>": "The affordance type is grasp" + region,
    }
    assert {question: lesson.answer for question, lesson in found.items()} == expected
    nothing = found["Which body parts touch the bus?<|im_end|>"]
    assert (nothing.token, nothing.values) == ("", None)


def test_a_dropped_template_asks_for_no_parts(builder: ExampleBuilder) -> None:
    for lesson in all_lessons(builder, sample(), parts_dropout=1.0):
        if "mug" in lesson.after and lesson.surface is None:
            assert lesson.answer == "It is [SEG]."
            assert "Segment the area on the human's body" in lesson.after


def test_the_mix_is_kept(builder: ExampleBuilder) -> None:
    rng = random.Random(1)
    drawn = [builder.lessons(sample(), QuestionMix(contact=9, scene=3, count=1), rng)[0] for _ in range(400)]
    scene = sum("the scene?" in lesson.after or "the scene in" in lesson.after for lesson in drawn)
    assert 60 < scene < 140
    none = [builder.lessons(sample(), QuestionMix(scene=0, untouched=1e-6), rng)[0] for _ in range(100)]
    assert not any(lesson.answer.endswith("none.") for lesson in none)


def test_tokens_labels_and_the_contact_token(builder: ExampleBuilder) -> None:
    (lesson,) = (one for one in all_lessons(builder, sample()) if "touch the mug?" in one.after)
    targets = Targets()
    example = builder.example(lesson, torch.zeros(4, 8), targets)  # type: ignore[arg-type]
    ids, labels = example.input_ids.tolist(), example.labels.tolist()
    assert ids.count(IMAGE_TOKEN) == 1
    config = builder._config
    assert example.contact_position is not None
    assert ids[example.contact_position] == config.seg_token_idx
    assert ids[-1] == config.eos_token_id
    predicted = [i for i, label in enumerate(labels) if label != IGNORED_LABEL]
    assert predicted == list(range(predicted[0], len(ids)))
    assert builder._tokenizer.decode(ids[predicted[0] : -1]) == lesson.answer
    assert torch.equal(example.surface_target, torch.from_numpy(lesson.values))  # type: ignore[arg-type]
    without_masks = builder.example(lesson, torch.zeros(4, 8))
    assert without_masks.surface is None
    assert without_masks.contact_position == example.contact_position
    assert torch.equal(without_masks.body_contact, torch.from_numpy(lesson.values))  # type: ignore[arg-type]


class Targets:
    surface = object()

    def targets(self, values: np.ndarray) -> torch.Tensor:
        return torch.zeros(1)


def test_contact_too_small_for_a_part_names_the_one_it_is_on(nano_folder: Path) -> None:
    config = ReleaseConfig.from_folder(nano_folder)
    wide = ExampleBuilder(
        config=config,
        tokenizer=load_tokenizer(nano_folder, config),
        topology="anny",
        part_index=np.repeat(np.arange(15, dtype=np.uint8), 20),
    )
    contact = HumanContact(Task.SEMANTIC, "ring", np.array([60], np.int32), "anny")
    (lesson,) = all_lessons(wide, sample(human=(contact,), objects=()))
    assert lesson.answer.startswith("The contacting body parts are left hand,")


def test_another_body_is_refused(builder: ExampleBuilder) -> None:
    contact = HumanContact(Task.SEMANTIC, "mug", np.array([1], np.int32), "smpl")
    with pytest.raises(InputError, match="topology: is 'smpl', this model's body is 'anny'"):
        all_lessons(builder, sample(human=(contact,)))


def test_smplh_reads_smpl(tiny_release: Path, tiny_body: BodyTemplate, make_sample: Make) -> None:
    config = ReleaseConfig.from_folder(tiny_release)
    tokenizer = load_tokenizer(tiny_release, config)
    official = ExampleBuilder(config=config, tokenizer=tokenizer, topology="smplh", part_index=tiny_body.part_index)
    lessons = all_lessons(official, make_sample("red", (3,)))
    example = official.example(next(one for one in lessons if one.token), torch.zeros(4, 8))
    given = int((example.labels == IGNORED_LABEL).sum())
    # As recorded from the release: BOS once, the answer's first label right behind "ASSISTANT:", </s> at the end.
    assert example.input_ids[0] == config.bos_token_id
    assert example.input_ids[-1] == config.eos_token_id
    assert tokenizer.decode(example.input_ids[given:-1].tolist()).startswith("The contacting body parts are left hand")
