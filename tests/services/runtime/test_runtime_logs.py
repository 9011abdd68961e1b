from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from services.runtime.calls import Call, use_call
from services.runtime.identity import ECHO, IdentityService
from services.runtime.logs import JsonFormatter, configure_logging


@pytest.fixture
def lines():
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("interactvlm.calls")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


async def test_one_line_a_call_without_contents(start_server, connect, lines):
    channel = connect(await start_server(IdentityService()))
    metadata = (("interactvlm-request-id", "r-9"), ("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01"))
    await channel.unary_unary(ECHO)(b"a private photo", timeout=9, metadata=metadata)
    (line,) = lines()
    assert line["method"] == ECHO
    assert (line["code"], line["owner"], line["request_id"]) == ("OK", "anonymous", "r-9")
    assert line["trace_id"] == "ab" * 16
    assert "private" not in json.dumps(line)


def test_exceptions_are_logged_by_place_not_by_message():
    try:
        try:
            raise KeyError("tennis racket")
        except KeyError as error:
            raise RuntimeError("holds a tennis racket") from error
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    with use_call(Call(request_id="r-1")):
        line = json.loads(JsonFormatter().format(record))
    assert line["exception"]["type"] == "RuntimeError"
    assert line["exception"]["cause"]["type"] == "KeyError"
    assert "test_exceptions" in line["exception"]["at"][-1]
    assert line["request_id"] == "r-1"
    assert "racket" not in json.dumps(line)


def test_configured_logging_writes_json_to_stderr(capsys):
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("warning")
        logging.getLogger("some").warning("careful %d", 3)
        logging.getLogger("some").info("not this")
        found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    assert [(line["level"], line["message"]) for line in found] == [("warning", "careful 3")]
