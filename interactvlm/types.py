"""The values that travel between stages: plain dataclasses of numpy arrays, no torch, no I/O.

Shapes use V for vertices (or points) of the target and J = 4 for views. Images are RGB uint8 HxWx3.
Lengths are metres; boxes are pixels of the upright photo, x to the right and y down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from interactvlm.errors import InteractVLMError

__all__ = [
    "Box",
    "ContactAnswer",
    "LargestPerson",
    "MaskPrediction",
    "ModelIdentity",
    "PersonSelector",
    "PhotoMask",
    "PointOnPerson",
    "Prediction",
    "Question",
    "Target",
    "Task",
    "TaskFailure",
    "TaskResult",
    "VertexContact",
    "WholePhoto",
]


class Task(StrEnum):
    """What is asked about a photo (paper, section 3)."""

    BINARY = "binary"
    """Which body vertices touch anything."""
    SEMANTIC = "semantic"
    """Which body vertices touch this object."""
    SCENE = "scene"
    """Which body vertices touch the ground and other supporting surfaces."""
    OBJECT = "object"
    """Which vertices (or points) of the object are touched: affordance or contact."""

    @property
    def target(self) -> Target:
        """The surface the answer lies on."""
        return Target.OBJECT if self is Task.OBJECT else Target.HUMAN


class Target(StrEnum):
    """The surface on which contact is predicted."""

    HUMAN = "human"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class Question:
    """One question on one photo.

    Attributes:
        task: what is asked.
        object_name: the object's everyday name ("tennis racket"); ignored by BINARY and SCENE.
    """

    task: Task
    object_name: str = ""


@dataclass(frozen=True, slots=True)
class ContactAnswer:
    """What the vision-language stage says to one question.

    Attributes:
        text: the generated answer, special tokens included as text, end token removed.
        embedding: the projected embedding of the contact token (the paper's E), float32 [256];
            None when the model emitted no contact token, which means "no contact".
        token: the contact token's text ("[SEG]", "[HSEG]", "[OSEG]"), None when there is none.
        confidence: geometric mean of the probabilities of the generated tokens up to and including the contact
            token, in [0, 1].
        parts: body parts that the text names, in the text's order ("left hand").
        affordance: affordance that the text names ("grasp"), None when it names none.
        generated_tokens: how many tokens were decoded.
    """

    text: str
    embedding: NDArray[np.float32] | None
    token: str | None
    confidence: float
    parts: tuple[str, ...] = ()
    affordance: str | None = None
    generated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class VertexContact:
    """Contact lifted to a surface.

    Attributes:
        probabilities: float32 [V] in [0, 1].
        view_logits: low-resolution mask logits, float32 [J, S, S] (S = 256 at published scale), in the order of the
            view set; None for an answer without a contact token.
    """

    probabilities: NDArray[np.float32]
    view_logits: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which weights answered.

    Attributes:
        name: the model set ("nano", "llava-13b") or the folder's name.
        checkpoint_hash: sha256 over the weights' manifest, hex.
        trained: False as long as the weights are not trained for contact: such answers mean nothing.
        notice: a sentence to print beside every answer when it must not be trusted, else "".
        close_up: it looks at the region around the person even where nobody else is in the photo (nano was trained
            so; the published models see such photos whole).
    """

    name: str
    checkpoint_hash: str
    trained: bool = True
    notice: str = ""
    close_up: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A person by bounding box, pixels of the upright photo: (left, top, right, bottom), right and bottom exclusive."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class PointOnPerson:
    """A person by one pixel on them."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class LargestPerson:
    """The person who covers the largest area of the photo (the default)."""


@dataclass(frozen=True, slots=True)
class WholePhoto:
    """No person is singled out: the model sees the photo as it is, as the published models were trained."""


PersonSelector = Box | PointOnPerson | LargestPerson | WholePhoto


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The answer to one task about one photo.

    Attributes:
        task: what was asked.
        object_name: the object's name as asked; "" for BINARY and SCENE.
        probabilities: contact probability per vertex (or point) of the target, float32 [V].
        threshold: probability from which a vertex counts as touched.
        surface: topology name of the body ("anny", "smplh"), or the content hash of the object's mesh.
        text: what the language model said.
        confidence: of the text, in [0, 1] (see `ContactAnswer`).
        parts_named: body parts the text names.
        parts_touched: body parts of which at least 10 % of the vertices are touched; empty for objects.
        affordance: affordance the text names, None when it names none.
        contact_token: the contact token emitted, None when the model saw no contact.
        view_logits: mask logits per view, float32 [J, S, S]; None without a contact token.
    """

    task: Task
    object_name: str
    probabilities: NDArray[np.float32]
    threshold: float
    surface: str
    text: str
    confidence: float
    parts_named: tuple[str, ...] = ()
    parts_touched: tuple[str, ...] = ()
    affordance: str | None = None
    contact_token: str | None = None
    view_logits: NDArray[np.float32] | None = None

    @property
    def target(self) -> Target:
        """The surface the probabilities lie on."""
        return self.task.target

    @property
    def vertex_ids(self) -> NDArray[np.int64]:
        """Ids of the touched vertices, ascending."""
        return np.flatnonzero(self.probabilities >= self.threshold)


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """One task of a photo that found no answer while others did (`Pipeline.predict` with `partial`).

    Attributes:
        index: its place in the order asked, counting answers and failures together.
        task: what was asked.
        object_name: the object's name as asked.
        error: why there is no answer.
    """

    index: int
    task: Task
    object_name: str
    error: InteractVLMError


@dataclass(frozen=True, slots=True)
class Prediction:
    """Everything known about one photo after one call.

    Attributes:
        photo_sha256: hash of the upright RGB pixels, hex.
        photo_size: (height, width) in pixels.
        region: the part of the photo that the model saw, None for all of it.
        person: the chosen person's box, None when nobody was singled out.
        model: which weights answered.
        results: one entry a task and object, in the order asked; those in `failures` are left out.
        timings: seconds by stage name.
        notices: sentences a reader must see beside the answers (an untrained model, nobody found ...).
        failures: tasks without an answer, in the order asked; only ever there when partial answers were allowed.
    """

    photo_sha256: str
    photo_size: tuple[int, int]
    model: ModelIdentity
    results: tuple[TaskResult, ...]
    region: Box | None = None
    person: Box | None = None
    timings: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    failures: tuple[TaskFailure, ...] = ()


@dataclass(frozen=True, slots=True)
class PhotoMask:
    """The answer of the 2D human-mask model to one task: contact in the photo's own pixels.

    Attributes:
        task: what was asked.
        object_name: the object's name as asked; "" for BINARY and SCENE.
        probabilities: that the person's body is in contact there, float32 [H, W]; 0 outside what the model saw.
        text: what the language model said.
        confidence: of the text, in [0, 1] (see `ContactAnswer`).
        contact_token: the contact token emitted, None when the model saw no contact.
    """

    task: Task
    object_name: str
    probabilities: NDArray[np.float32]
    text: str
    confidence: float
    contact_token: str | None = None

    @property
    def target(self) -> Target:
        """What the mask lies on: the human, in the photo."""
        return self.task.target

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Pixels in contact, bool [H, W]: as released, where the logit is positive."""
        return np.asarray(self.probabilities > 0.5)


@dataclass(frozen=True, slots=True)
class MaskPrediction:
    """Everything the 2D human-mask model says about one photo; fields as `Prediction`'s."""

    photo_sha256: str
    photo_size: tuple[int, int]
    model: ModelIdentity
    results: tuple[PhotoMask, ...]
    region: Box | None = None
    person: Box | None = None
    timings: dict[str, float] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
