from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from interactvlm.types import Question, Task
from interactvlm.vlm.model import ContactVLM

QUESTIONS = (
    Question(Task.SEMANTIC, "harmonica"),
    Question(Task.OBJECT, "harmonica"),
    Question(Task.BINARY),
    Question(Task.SCENE),
)


@pytest.fixture(scope="module")
def model(nano_folder: Path) -> ContactVLM:
    return ContactVLM.from_folder(nano_folder)


def _picture() -> np.ndarray:
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[..., 0] = np.linspace(0, 255, 400)
    picture[120:260, 150:220] = (40, 90, 200)
    return picture


def test_every_question_is_answered_with_a_contact_token(model: ContactVLM) -> None:
    (answers,) = model.answer([_picture()], [QUESTIONS], max_new_tokens=48)
    for question, answer in zip(QUESTIONS, answers, strict=True):
        assert answer.token == "[SEG]"
        assert answer.text.endswith(", and the contact region is [SEG]")
        assert answer.embedding is not None
        assert answer.embedding.shape == (256,)
        assert np.isfinite(answer.embedding).all()
        assert (answer.affordance is not None) == (question.task is Task.OBJECT)
        assert bool(answer.parts) == (question.task is not Task.OBJECT)


def test_it_never_passes_for_trained(model: ContactVLM) -> None:
    assert not model.config.trained
    assert model.config.notice.startswith("untrained")
