"""An OpenAI-compatible endpoint on loopback that answers from a script."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FIELDS = ("person", "body parts", "interaction", "object", "object parts")
ANSWERS = {name: f"About the {name}." for name in FIELDS}


@dataclass
class Reply:
    """One scripted answer; `body` is sent as it is, `drop` closes the line instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


def says(text: str | None, **message: Any) -> Reply:
    """A well-formed chat completion."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text, **message}}
    usage = {"prompt_tokens": 100, "completion_tokens": 20}
    return Reply(body=json.dumps({"choices": [choice], "usage": usage}).encode())


GOOD = says(json.dumps(ANSWERS))


@dataclass
class Stub:
    """What came in, and what goes out: the script first, then `otherwise`."""

    script: list[Reply] = field(default_factory=list)
    otherwise: Callable[[dict[str, Any]], Reply] = lambda request: GOOD
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def paid(self) -> int:
        """Calls made."""
        return len(self.requests)


@contextmanager
def served(stub: Stub) -> Iterator[Stub]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with stub.lock:
                stub.requests.append(request)
                stub.headers.append(dict(self.headers))
                stub.paths.append(self.path)
                reply = stub.script.pop(0) if stub.script else None
            reply = reply or stub.otherwise(request)
            if reply.drop:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
