"""Who calls, until when and how urgently: one `Call` travels with every request through the process.

The server's interceptor makes the `Call` and puts it in a context variable; handlers read it with `current_call()`,
channels forward from it (request id, owner, priority, trace), the batcher orders by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum

from interactvlm.stages import CallContext

__all__ = [
    "OWNER_KEY",
    "PRIORITY_KEY",
    "REQUEST_ID_KEY",
    "Call",
    "Priority",
    "current_call",
    "maybe_current_call",
    "set_current_call",
    "use_call",
]

#: Metadata keys of the wire (lower case, as HTTP/2 wants them).
REQUEST_ID_KEY = "interactvlm-request-id"
PRIORITY_KEY = "interactvlm-priority"
OWNER_KEY = "interactvlm-owner"


class Priority(IntEnum):
    """Which queue a call waits in; the lower value goes first."""

    INTERACTIVE = 0
    """Somebody waits for the answer (the default)."""
    BATCH = 1
    """Throughput work: fills what interactive calls leave free."""

    @classmethod
    def parse(cls, text: str) -> Priority:
        """The priority that metadata names; anything unknown counts as interactive."""
        return cls.BATCH if text.strip().lower() == "batch" else cls.INTERACTIVE

    @property
    def wire(self) -> str:
        """The name in metadata."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Call:
    """One request as the process sees it.

    Attributes:
        owner: to whom answers, meshes and jobs belong.
        scopes: what the caller's token allows ("*" for everything).
        request_id: names the request in logs, errors and traces; the caller's own or made here.
        context: the deadline (the wire's less a margin for the way back) and cancellation.
        priority: which queue it waits in.
        method: full gRPC method ("/interactvlm.v1.VlmService/Answer").
        draining: set once the server drains; long streams end then, after what they have begun.
    """

    owner: str = "anonymous"
    scopes: frozenset[str] = frozenset({"*"})
    request_id: str = ""
    context: CallContext = field(default_factory=CallContext)
    priority: Priority = Priority.INTERACTIVE
    method: str = ""
    draining: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


_current: ContextVar[Call | None] = ContextVar("interactvlm_call", default=None)


def current_call() -> Call:
    """The call being served.

    Raises:
        RuntimeError: nothing is being served in this context.
    """
    call = _current.get()
    if call is None:
        raise RuntimeError("no call is being served in this context")
    return call


def maybe_current_call() -> Call | None:
    """The call being served, None outside of any."""
    return _current.get()


def set_current_call(call: Call) -> None:
    """Make `call` current for the rest of this task (the interceptor's business)."""
    _current.set(call)


@contextmanager
def use_call(call: Call) -> Iterator[Call]:
    """Make `call` current within the block (background work, tests)."""
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)
