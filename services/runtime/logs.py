"""Structured logs: one JSON object a line, with request ids and without contents.

What a caller sent never reaches a log. Exceptions are logged by class and place, without their message, because
messages of foreign libraries quote the values they choke on.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any

from services.runtime.calls import maybe_current_call

__all__ = ["JsonFormatter", "configure_logging"]

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"fields": {...}}` adds keys."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        if fields:
            line.update(fields)
        if "request_id" not in line and (call := maybe_current_call()) is not None:
            line["request_id"] = call.request_id
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = _places(record.exc_info[1])
        return _encode(line)


def _places(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)
    found: dict[str, Any] = {
        "type": type(error).__qualname__,
        "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-12:]],
    }
    if error.__cause__ is not None:
        found["cause"] = _places(error.__cause__)
    return found


def configure_logging(level: str) -> None:
    """Send every log of the process to stderr as JSON from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
