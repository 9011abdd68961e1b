"""What the pipeline asks of its stages: small async Protocols over plain dataclasses.

A stage is either local (`interactvlm.local`) or a client of a server; the pipeline cannot tell. Every call carries a
`CallContext`: the caller's deadline and whether the caller still wants the answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from interactvlm.errors import CancelledError, DeadlineExceededError
from interactvlm.types import Box, ContactAnswer, ModelIdentity, PersonSelector, Question, VertexContact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from interactvlm.body.template import BodyTemplate
    from interactvlm.geometry.mesh import Mesh, PointCloud

__all__ = ["CallContext", "LanguageStage", "LocalizationStage", "PersonChoice", "PersonStage"]


@dataclass(frozen=True, slots=True)
class CallContext:
    """Deadline and cancellation of one call.

    Attributes:
        deadline: moment on `time.monotonic()` after which the answer is worthless; None for none.
    """

    deadline: float | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event, repr=False)

    @classmethod
    def within(cls, seconds: float | None) -> CallContext:
        """A context whose deadline lies `seconds` from now (None: no deadline)."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    def cancel(self) -> None:
        """Withdraw the call; work that has begun stops at its next step."""
        self._cancelled.set()

    def remaining(self) -> float | None:
        """Seconds left, None without a deadline; negative when it has passed."""
        return None if self.deadline is None else self.deadline - time.monotonic()

    def should_stop(self) -> bool:
        """Whether nobody waits for the answer any more."""
        remaining = self.remaining()
        return self._cancelled.is_set() or (remaining is not None and remaining <= 0)

    def check(self) -> None:
        """Raise when nobody waits for the answer any more.

        Raises:
            CancelledError: the call was withdrawn.
            DeadlineExceededError: the deadline has passed.
        """
        if self._cancelled.is_set():
            raise CancelledError("the call was cancelled")
        if self.should_stop():
            raise DeadlineExceededError("the deadline passed before the answer was ready")


@dataclass(frozen=True, slots=True)
class PersonChoice:
    """The person a call is about.

    Attributes:
        person: their box, None when nobody is singled out.
        region: the part of the photo the model shall see, None for all of it.
        notices: sentences to print beside the answer ("2 people were found ...").
    """

    person: Box | None = None
    region: Box | None = None
    notices: tuple[str, ...] = ()


class PersonStage(Protocol):
    """Finds the person that a selector means."""

    async def choose(self, photo: NDArray[np.uint8], selector: PersonSelector, *, context: CallContext) -> PersonChoice:
        """The person `selector` means; raises QuestionError when nobody is there."""
        ...


class LanguageStage(Protocol):
    """Psi and Gamma: photo and questions to answers with contact embeddings."""

    @property
    def identity(self) -> ModelIdentity:
        """Which weights answer; a stage far away may know only once it has answered."""
        ...

    @property
    def close_up(self) -> bool:
        """Whether the model wants to see the region around the person wherever a person is known."""
        ...

    async def answer(
        self, photo: NDArray[np.uint8], questions: Sequence[Question], *, fast: bool, context: CallContext
    ) -> list[ContactAnswer]:
        """One answer a question, in order; questions on one photo share its work."""
        ...


class LocalizationStage(Protocol):
    """Phi, Theta, Omega and the lift: contact embeddings to contact on surfaces."""

    @property
    def body(self) -> BodyTemplate:
        """The body that human contacts lie on."""
        ...

    async def body_contacts(self, answers: Sequence[ContactAnswer], *, context: CallContext) -> list[VertexContact]:
        """Contact on the body, one entry an answer; zeros where the answer holds no contact token."""
        ...

    async def object_contacts(
        self, surface: Mesh | PointCloud, answers: Sequence[ContactAnswer], *, context: CallContext
    ) -> list[VertexContact]:
        """Contact on an object's mesh or points, one entry an answer."""
        ...
