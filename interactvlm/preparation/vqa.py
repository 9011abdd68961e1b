"""The paper's third kind of training text: questions about a photo in five fields, answered by an external model.

Fields (paper, section 4): the person, the body parts in contact, the interaction, the object, the object's parts. One
request a photo asks for all five, about the annotated object the body touches most. Where contact is annotated, the
request names the touched body parts, so that words and vertices agree: these texts are for training, and nothing that
evaluates reads them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import unicodedata
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from interactvlm.datasets.sample import ContactSample, TextAnswer
from interactvlm.photo import load_photo
from interactvlm.preparation.answers import AnswerStore
from interactvlm.preparation.endpoint import ChatEndpoint
from interactvlm.types import Task
from interactvlm.vlm.tokens import CONTACT_TOKENS

__all__ = [
    "VQA_FIELDS",
    "VQA_QUESTIONS",
    "AnsweredSample",
    "VisualQuestions",
    "main_object",
    "parse_answers",
    "parts_question",
]

VQA_FIELDS = ("person", "body parts", "interaction", "object", "object parts")
"""The five fields, as `TextAnswer.field` names them."""

#: The question of each field.
VQA_QUESTIONS = {
    "person": "Describe the person in the photo.",
    "body parts": "Which body parts of the person are in contact with the {name}?",
    "interaction": "How does the person interact with the {name}?",
    "object": "Describe the {name} that the person interacts with.",
    "object parts": "Which parts of the {name} does the person touch?",
}
_INSTRUCTION = (
    "Look at the photo and answer five questions about {who} and the {name}. Each answer is one or two plain English "
    "sentences of at most 40 words about what can be seen; left and right are the person's own. Answer with one JSON "
    "object with exactly these keys, each a string:\n{questions}"
)
_HINT = "\nAnnotators marked these body parts as touching the {name}: {parts}. Agree with them."
_LONGEST_ANSWER = 600
_MAX_TOKENS = 700
#: A photo that was answered uselessly this often is left without texts: each try costs money.
_TRIES = 3
_SIDE = 768
_MARKUP = (*CONTACT_TOKENS, "<image>", "<im_start>", "<im_end>", "<|", "|>", "</s>", "<s>")


@dataclass(frozen=True, slots=True)
class AnsweredSample:
    """A sample with its texts.

    Attributes:
        sample: with `texts` extended by the five answers; as it was where the service refused.
        problem: why there are no answers, "" where there are.
        requests: calls made now; 0 for an answer that was kept from an earlier run.
        tokens: paid for them, as the service counts.
    """

    sample: ContactSample
    problem: str = ""
    requests: int = 0
    tokens: int = 0


class VisualQuestions:
    """Asks the five questions; may be shared by threads.

    Args:
        chat: the endpoint.
        store: where answers are kept, by photo, request and model.
    """

    def __init__(self, chat: ChatEndpoint, store: AnswerStore) -> None:
        self._chat = chat
        self._store = store

    def give_up(self) -> None:
        """Wait for the endpoint no longer; see `ChatEndpoint.give_up`."""
        self._chat.give_up()

    def answer(self, sample: ContactSample, *, parts: tuple[str, ...] = ()) -> AnsweredSample:
        """The sample with five more texts, from the store or else from the endpoint.

        Args:
            sample: an annotated photo.
            parts: body parts known to touch the object, empty where nothing is known.

        Raises:
            PhotoError: the photo cannot be read.
            EndpointError: the endpoint fails for good; what was answered so far is kept.
            InputError: the store cannot be written.
        """
        name = main_object(sample)
        request = _request(sample, name, parts)
        asked = (hashlib.sha256(sample.photo).hexdigest(), request, self._chat.endpoint.model)
        key = hashlib.sha256("\0".join(asked).encode()).hexdigest()
        kept = self._kept(key)
        requests = tokens = 0
        while kept is None:
            completion = self._chat.complete(_messages(request, _small_jpeg(sample)), max_tokens=_MAX_TOKENS)
            requests += 1
            tokens += completion.prompt_tokens + completion.completion_tokens
            try:
                kept = {"sample": sample.sample_id, "answers": parse_answers(completion.text), "tokens": tokens}
            except ValueError as error:
                if completion.refusal or requests == _TRIES:
                    problem = f"refused ({completion.refusal[:200]})" if completion.refusal else str(error)
                    kept = {"sample": sample.sample_id, "problem": problem, "tokens": tokens}
            if kept is not None:
                self._store.put(key, kept)
        if "answers" not in kept:
            return AnsweredSample(sample, str(kept.get("problem")), requests, tokens)
        texts = tuple(
            TextAnswer(field=field, question=VQA_QUESTIONS[field].format(name=name), answer=kept["answers"][field])
            for field in VQA_FIELDS
        )
        return AnsweredSample(replace(sample, texts=sample.texts + texts), "", requests, tokens)

    def _kept(self, key: str) -> dict[str, Any] | None:
        """What the store has under a key; None for what nobody here wrote."""
        kept = self._store.get(key)
        if kept is None or isinstance(kept.get("problem"), str):
            return kept
        answers = kept.get("answers")
        whole = isinstance(answers, dict) and all(isinstance(answers.get(field), str) for field in VQA_FIELDS)
        return kept if whole else None


def main_object(sample: ContactSample) -> str:
    """The object a sample's questions are about: the one most vertices touch, else the first that is annotated."""
    touched = [c for c in sample.human if c.task is Task.SEMANTIC]
    if touched:
        return max(touched, key=lambda contact: len(contact.vertex_ids)).object_name
    return sample.objects[0].object_name if sample.objects else "things around"


def parts_question(name: str) -> str:
    """The question about the body parts that touch an object."""
    return VQA_QUESTIONS["body parts"].format(name=name)


def parse_answers(text: str) -> dict[str, str]:
    """The five answers in what a model wrote: one JSON object, with or without fences and words around it.

    Raises:
        ValueError: a field is missing, empty, too long or no text, or holds markup of a prompt.
    """
    start, end = text.find("{"), text.rfind("}")
    try:
        content = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        raise ValueError("the answer holds no JSON object") from None
    if not isinstance(content, dict):
        raise ValueError("the answer holds no JSON object")
    plain = {str(key).strip().lower().replace("_", " "): value for key, value in content.items()}
    answers = {}
    for field in VQA_FIELDS:
        value = plain.get(field)
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = ", ".join(value)
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"the answer lacks the field {field!r}")
        clean = " ".join(value.split())
        if len(clean) > _LONGEST_ANSWER:
            raise ValueError(f"the field {field!r} has {len(clean)} characters, the limit is {_LONGEST_ANSWER}")
        if any(unicodedata.category(c)[0] == "C" for c in clean) or any(m in clean for m in _MARKUP):
            raise ValueError(f"the field {field!r} holds control characters or markup")
        answers[field] = clean
    return answers


def _request(sample: ContactSample, name: str, parts: tuple[str, ...]) -> str:
    who = "the person"
    if sample.person is not None:
        box = sample.person
        height, width = load_photo(sample.photo).shape[:2]
        numbers = (box.left / width, box.top / height, box.right / width, box.bottom / height)
        shares = ", ".join(f"{min(max(100 * n, 0), 100):.0f}%" for n in numbers)
        who = f"the person inside the box (left, top, right, bottom) {shares}"
    questions = "\n".join(f'"{field}": {question.format(name=name)}' for field, question in VQA_QUESTIONS.items())
    text = _INSTRUCTION.format(who=who, name=name, questions=questions)
    return text + (_HINT.format(name=name, parts=", ".join(parts)) if parts else "")


def _messages(request: str, photo: bytes) -> list[dict[str, Any]]:
    picture = f"data:image/jpeg;base64,{base64.b64encode(photo).decode('ascii')}"
    content = [{"type": "text", "text": request}, {"type": "image_url", "image_url": {"url": picture}}]
    return [{"role": "user", "content": content}]


def _small_jpeg(sample: ContactSample) -> bytes:
    """What is sent: upright, at most 768 pixels a side, without the file's own metadata (places, names, times)."""
    image = Image.fromarray(load_photo(sample.photo))
    image.thumbnail((_SIDE, _SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=88)
    return out.getvalue()
