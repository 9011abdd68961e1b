"""From an annotated photo to questions with answers, as tokens (paper section 3: text data and templates).

Answers come in the words that prompts.py knows; whatever a photo's labels say reaches the answer's side only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactvlm.body.parts import PART_NAMES, parts_in_contact
from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.datasets.sample import ContactSample, HumanContact, ObjectContact, TextAnswer
from interactvlm.errors import InputError
from interactvlm.geometry.mesh import Mesh, PointCloud
from interactvlm.training.model import TrainingExample
from interactvlm.training.packing import IGNORED_LABEL, IMAGE_TOKEN
from interactvlm.types import Question, Target, Task
from interactvlm.vlm.prompts import answer_templates, build_prompt, conversation
from interactvlm.vlm.tokens import contact_token_ids, expected_token

if TYPE_CHECKING:
    from interactvlm.training.surfaces import TrainingSurface
    from interactvlm.vlm.tokenizer import Tokenizer

__all__ = ["NOTHING", "ExampleBuilder", "Lesson", "QuestionMix"]

#: What a contact answer names where nothing touches; such an answer holds no contact token.
NOTHING = "none"

# SMPL and SMPL-H share one order of vertices; data sets say either.
_VERTEX_ORDER = {"smplh": "smpl"}


@dataclass(frozen=True, slots=True)
class QuestionMix:
    """How a photo's questions are chosen.

    Attributes:
        contact, scene, words: relative frequency of questions about objects, about the scene, in words alone.
        count: questions at a time.
        untouched: frequency of a question whose answer is "none", against one about something that is touched; photos
            hold more objects that nobody touches.
        parts_dropout: how often a human answer names no parts; its question then does not ask for them.
    """

    contact: int = 9
    scene: int = 3
    words: int = 1
    count: int = 1
    untouched: float = 1.0
    parts_dropout: float = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """One question with its answer, and the surface values it means.

    Attributes:
        before, after: the prompt in front of and behind the image.
        begin_of_sequence: whether BOS stands in front.
        answer: the words to learn, separator included.
        token: the contact token in it; "" for an answer without one.
        surface: None: the body.
        values: float32 [V], contact or heat; None without a contact token.
    """

    before: str
    after: str
    begin_of_sequence: bool
    answer: str
    token: str = ""
    surface: Mesh | PointCloud | None = None
    values: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question that may be asked, not yet put into words."""

    weight: float
    make: Callable[[], Lesson]


class ExampleBuilder:
    """Makes lessons of a photo, and tokens of lessons, for one checkpoint.

    Args:
        config: the checkpoint's configuration.
        tokenizer: its tokenizer.
        topology: the body's name ("anny"); contact on another body is refused.
        part_index: uint8 [V] of that body.
    """

    def __init__(
        self, *, config: ReleaseConfig, tokenizer: Tokenizer, topology: str, part_index: NDArray[np.uint8]
    ) -> None:
        self._config = config
        # The question without parts, in the words that the release has for it.
        self._simple = replace(config, hC_question_type="simple")
        self._tokenizer = tokenizer
        self._topology = _VERTEX_ORDER.get(topology, topology)
        self._part_index = part_index
        self._token_ids = contact_token_ids(config, tokenizer, source="checkpoint")

    def lessons(self, sample: ContactSample, mix: QuestionMix, rng: random.Random) -> list[Lesson]:
        """Up to `mix.count` lessons about one photo, drawn without repetition by the mix's frequencies."""
        groups: list[tuple[int, list[_Asked]]] = [
            (mix.contact, list(self._about_objects(sample, mix, rng))),
            (mix.scene, list(self._about_scene(sample, mix, rng))),
            (mix.words, [_Asked(1.0, partial(self._in_words, text)) for text in sample.texts]),
        ]
        chosen: list[Lesson] = []
        while len(chosen) < mix.count:
            weights = [weight if asked else 0 for weight, asked in groups]
            if not any(weights):
                break
            ((_, asked),) = rng.choices(groups, weights)
            (place,) = rng.choices(range(len(asked)), [one.weight for one in asked])
            chosen.append(asked.pop(place).make())
        return chosen

    def example(self, lesson: Lesson, features: Tensor, surface: TrainingSurface | None = None) -> TrainingExample:
        """One lesson as tokens.

        Args:
            lesson: the question and its answer.
            features: the photo's, shared by all lessons about it.
            surface: what the contact lies on; None: the masks are not learned in this step.
        """
        encode = self._tokenizer.encode
        before = ([self._config.bos_token_id] if lesson.begin_of_sequence else []) + encode(lesson.before)
        prompt, whole = encode(lesson.after), encode(lesson.after + lesson.answer)
        # Where words meet, a tokenizer may join what stands on both sides: the answer begins where the two part.
        given = next((i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
        whole.append(self._config.eos_token_id)
        ids = [*before, IMAGE_TOKEN, *whole]
        unpredicted = len(before) + 1 + given
        labels = [IGNORED_LABEL] * unpredicted + ids[unpredicted:]
        example = TrainingExample(torch.tensor(ids), torch.tensor(labels), features)
        if lesson.values is None or (surface is None and lesson.surface is not None):
            return example
        values = torch.from_numpy(lesson.values)
        position = len(before) + 1 + whole.index(self._token_ids[lesson.token], given)
        example = replace(
            example,
            contact_position=position,
            contact_token=lesson.token,
            body_contact=values if lesson.surface is None else None,
        )
        if surface is None:
            return example
        return replace(
            example, surface=surface.surface, mask_target=surface.targets(lesson.values), surface_target=values
        )

    def _about_objects(self, sample: ContactSample, mix: QuestionMix, rng: random.Random) -> Iterator[_Asked]:
        if self._config.has_human_head:
            for contact in sample.human:
                if contact.task is not Task.SCENE:
                    weight = 1.0 if len(contact.vertex_ids) else mix.untouched
                    yield _Asked(weight, partial(self._on_body, contact, mix, rng))
        if self._config.has_object_head:
            for item in sample.objects:
                yield _Asked(1.0 if item.values.any() else mix.untouched, partial(self._on_object, item))

    def _about_scene(self, sample: ContactSample, mix: QuestionMix, rng: random.Random) -> Iterator[_Asked]:
        if self._config.has_human_head:
            for contact in sample.human:
                if contact.task is Task.SCENE:
                    yield _Asked(1.0, partial(self._on_body, contact, mix, rng))

    def _on_body(self, contact: HumanContact, mix: QuestionMix, rng: random.Random) -> Lesson:
        if _VERTEX_ORDER.get(contact.topology, contact.topology) != self._topology:
            raise InputError("topology", f"is {contact.topology!r}, this model's body is {self._topology!r}")
        touched = np.zeros(len(self._part_index), dtype=bool)
        touched[contact.vertex_ids] = True
        question = Question(contact.task, contact.object_name)
        if touched.any() and rng.random() < mix.parts_dropout:
            return self._lesson(question, self._simple, None, touched.astype(np.float32))
        parts = parts_in_contact(touched, self._part_index) or self._touched_most(touched)
        return self._lesson(question, self._config, parts, touched.astype(np.float32))

    def _touched_most(self, touched: NDArray[np.bool_]) -> tuple[str, ...]:
        """Contact too small to name any part by the rule: the part that holds most of it."""
        counts = np.bincount(self._part_index[touched], minlength=len(PART_NAMES))
        return (PART_NAMES[int(counts.argmax())],) if counts.any() else ()

    def _on_object(self, item: ObjectContact) -> Lesson:
        words = (item.affordance,) if item.affordance and item.values.any() else ()
        question = Question(Task.OBJECT, item.object_name)
        return self._lesson(question, self._config, words or None, item.values.astype(np.float32), item.surface)

    def _in_words(self, text: TextAnswer) -> Lesson:
        prompt = conversation(text.question, self._config)
        answer = prompt.answer_separator + text.answer
        return Lesson(prompt.before_image, prompt.after_image, prompt.begin_of_sequence, answer)

    def _lesson(
        self,
        question: Question,
        config: ReleaseConfig,
        words: Sequence[str] | None,
        values: NDArray[np.float32],
        surface: Mesh | PointCloud | None = None,
    ) -> Lesson:
        """The question with the parts (or affordance) template, or with the simple one when `words` is None."""
        target = question.task.target
        prompt = build_prompt(question, config, special_tokens=self._tokenizer.special_tokens)
        opening, closing = answer_templates(target)
        token = expected_token(target, config)
        if not values.any():
            answer, token = f"{opening} {NOTHING}.", ""
        elif words is None:
            answer = f"It is {token}."
        else:
            answer = f"{opening} {', '.join(words)}{closing} {token}."
        return Lesson(
            before=prompt.before_image,
            after=prompt.after_image,
            begin_of_sequence=prompt.begin_of_sequence,
            answer=prompt.answer_separator + answer,
            token=token,
            surface=surface if target is Target.OBJECT else None,
            values=values if token else None,
        )
