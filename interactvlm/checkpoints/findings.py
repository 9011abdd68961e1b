"""What the doctor says about one thing it looked at."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        level: "ok", "note" (nothing to do), "missing" (put or make it) or "problem" (wrong as it is).
        subject: file, key or tensor.
        text: what about it, and what to do.
    """

    level: str
    subject: str
    text: str
