"""The words around a question: conversation templates, questions, answer templates.

Everything here is a pure function of (question, checkpoint configuration, quirks): nothing else can reach a prompt, so
no ground truth can.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.errors import CheckpointError, QuestionError
from interactvlm.types import Question, Target, Task
from interactvlm.vlm.tokens import CONTACT_TOKENS

__all__ = [
    "IMAGE_TOKEN",
    "MAX_OBJECT_NAME",
    "NO_QUIRKS",
    "DemoQuirks",
    "Prompt",
    "answer_templates",
    "build_prompt",
    "check_object_name",
    "conversation",
    "fast_answer",
    "question_text",
]

IMAGE_TOKEN = "<image>"  # noqa: S105 - the place of the image in a prompt
#: Longest object name, in characters.
MAX_OBJECT_NAME = 64
#: The object that binary contact asks about.
ANY_OBJECT = "any object"
#: The object that scene contact asks about.
SCENE = "scene"

_HUMAN_PARTS = "Which body parts are in contact with the {name}? Segment these contact areas."
_HUMAN_MASK = "Segment the area on the human's body that is in direct contact with the {name} in this image."
_OBJECT_AFFORDANCE = (
    "What type of affordance does the human-object interaction suggest? Then, segment the area on the {name} where "
    "the human is making contact."
)
# Ours, in fewer tokens: what nano is trained on.
_HUMAN_SHORT = "Which body parts touch the {name}?"
_OBJECT_SHORT = "How is the {name} used, and where?"
_HUMAN_QUESTIONS = {"parts": _HUMAN_PARTS, "simple": _HUMAN_MASK, "short": _HUMAN_SHORT}
_OBJECT_QUESTIONS = {"afford": _OBJECT_AFFORDANCE, "afford_obj": _OBJECT_AFFORDANCE, "short": _OBJECT_SHORT}

_VICUNA_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions."
)

# Texts that open markup in some tokenizer or template, refused in names whatever the checkpoint's own tokens are.
_MARKUP = (
    "<image>",
    "<im_start>",
    "<im_end>",
    "<im_patch>",
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<|",
    "|>",
    *CONTACT_TOKENS,
)


@dataclass(frozen=True, slots=True)
class DemoQuirks:
    """Oddities of the released demo's prompts, each a named switch; off unless its numbers are to be reproduced.

    Attributes:
        quoted_object_question: the object question carries literal quotes and a trailing comma
            (`"What type ... contact.",`).
    """

    quoted_object_question: bool = False


#: The wording the models were trained on.
NO_QUIRKS = DemoQuirks()


@dataclass(frozen=True, slots=True)
class Prompt:
    """One conversation up to the assistant's turn.

    Attributes:
        before_image: text up to the image; the same for every question a checkpoint is asked.
        after_image: the rest, ending where the answer begins.
        answer_separator: what stands between the prompt and a given answer.
        begin_of_sequence: whether the tokenizer's BOS stands in front.
    """

    before_image: str
    after_image: str
    answer_separator: str
    begin_of_sequence: bool

    @property
    def text(self) -> str:
        """The whole prompt with the image's placeholder."""
        return self.before_image + IMAGE_TOKEN + self.after_image


def check_object_name(name: str, *, special_tokens: frozenset[str] = frozenset()) -> str:
    """The name of an object as it may stand in a prompt: names come from strangers.

    Args:
        name: what the caller calls the object.
        special_tokens: texts that the checkpoint's tokenizer turns into special tokens.

    Returns:
        The name without blanks around it.

    Raises:
        QuestionError: it is empty, longer than `MAX_OBJECT_NAME`, holds control or invisible formatting characters,
            or holds a special token.
    """
    if not isinstance(name, str):
        raise QuestionError("object_name", f"must be text, not {type(name).__name__}")
    stripped = name.strip()
    if not stripped:
        raise QuestionError("object_name", "is empty; this task needs the name of an object")
    if len(stripped) > MAX_OBJECT_NAME:
        raise QuestionError("object_name", f"has {len(stripped)} characters, the limit is {MAX_OBJECT_NAME}")
    # Categories C* (control, format, surrogate, unassigned) and line or paragraph separators.
    if any(unicodedata.category(c)[0] == "C" or unicodedata.category(c) in ("Zl", "Zp") for c in stripped):
        raise QuestionError("object_name", f"{stripped!r} holds control characters")
    # Compatibility forms ("［SEG］") could become the token in a tokenizer that normalises.
    forms = {stripped.casefold(), unicodedata.normalize("NFKC", stripped).casefold()}
    for token in sorted(special_tokens | set(_MARKUP)):
        if any(token.casefold() in form for form in forms):
            raise QuestionError("object_name", f"{stripped!r} holds the special token {token}")
    return stripped


def question_text(
    question: Question,
    config: ReleaseConfig,
    *,
    quirks: DemoQuirks = NO_QUIRKS,
    special_tokens: frozenset[str] = frozenset(),
) -> str:
    """The question in the words the checkpoint was trained on.

    Args:
        question: what is asked.
        config: the checkpoint's configuration (question types, heads, `multiview_channels`).
        quirks: oddities of the released demo to reproduce.
        special_tokens: texts an object name must not hold besides the well-known ones.

    Raises:
        QuestionError: the object name is malformed, or the checkpoint has no head for the task.
        CheckpointError: the configuration names a question type that is not known.
    """
    target = question.task.target
    if not (config.has_human_head if target is Target.HUMAN else config.has_object_head):
        other = "object" if target is Target.HUMAN else "human"
        raise QuestionError(
            "task", f"{question.task.value!r} asks about the {target.value}, this model has only the {other} head"
        )
    if question.task is Task.BINARY:
        name = ANY_OBJECT
    elif question.task is Task.SCENE:
        name = SCENE
    else:
        name = check_object_name(question.object_name, special_tokens=special_tokens)
    if target is Target.OBJECT:
        text = _known(_OBJECT_QUESTIONS, "oC_question_type", config.oC_question_type).format(name=name)
        return f'"{text}",' if quirks.quoted_object_question else text
    if config.multiview_channels == 1:
        return _HUMAN_MASK.format(name=name)
    return _known(_HUMAN_QUESTIONS, "hC_question_type", config.hC_question_type).format(name=name)


def build_prompt(
    question: Question,
    config: ReleaseConfig,
    *,
    quirks: DemoQuirks = NO_QUIRKS,
    special_tokens: frozenset[str] = frozenset(),
) -> Prompt:
    """The conversation that asks one question about one photo; arguments and errors as `question_text`."""
    return conversation(question_text(question, config, quirks=quirks, special_tokens=special_tokens), config)


def conversation(text: str, config: ReleaseConfig) -> Prompt:
    """The conversation around any question, in the checkpoint's style.

    Raises:
        CheckpointError: the configuration names a style that is not known.
    """
    opened, closed = ("<im_start>", "<im_end>") if config.mm_use_im_start_end else ("", "")
    if config.prompt_style == "vicuna_v1":
        return Prompt(
            before_image=f"{_VICUNA_SYSTEM} USER: {opened}",
            after_image=f"{closed}\n{text} ASSISTANT:",
            answer_separator=" ",
            begin_of_sequence=True,
        )
    if config.prompt_style == "chatml":
        return Prompt(
            before_image=f"<|im_start|>user\n{opened}",
            after_image=f"{closed}\n{text}<|im_end|>\n<|im_start|>assistant\n",
            answer_separator="",
            begin_of_sequence=False,
        )
    raise CheckpointError("config.json", f"key prompt_style is {config.prompt_style!r}; known: vicuna_v1, chatml")


def fast_answer(target: Target) -> str:
    """The answer up to its contact token that the opt-in fast mode puts into the model's mouth."""
    return "Sure, the human contact region is" if target is Target.HUMAN else "It is"


def answer_templates(target: Target) -> tuple[str, str]:
    """Opening and closing words of a usual answer; between them stand the body parts or the affordance."""
    opening = "The contacting body parts are" if target is Target.HUMAN else "The affordance type is"
    return opening, ", and the contact region is"


def _known(questions: dict[str, str], key: str, value: str) -> str:
    """The wording of one question type."""
    try:
        return questions[value]
    except KeyError:
        raise CheckpointError("config.json", f"key {key} is {value!r}; known: {', '.join(questions)}") from None
