"""The internal port: metrics, health, configuration and commands over plain HTTP, for operators and the cluster only.

::

    GET  /metrics            Prometheus text
    GET  /health             {"interactvlm.v1.VlmService": "SERVING", ...}; 503 unless all serve
    GET  /config             the configuration without secrets
    POST /admin/COMMAND      JSON arguments {"service": "...", ...}; what the service answers ("reload", ...)

It asks for no token: bind it to loopback or keep it inside the cluster. POST wants `Content-Type: application/json`,
which a web page elsewhere cannot send here without asking first.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from interactvlm.errors import InputError, InteractVLMError
from services.runtime.metrics import REGISTRY

__all__ = ["InternalPort"]

_log = logging.getLogger(__name__)
_JSON = "application/json"
_LARGEST_BODY = 2**20
_PATIENCE = 10.0

_Answer = tuple[HTTPStatus, str, bytes]


class InternalPort:
    """A small HTTP/1.1 server, one request a connection.

    Args:
        health: status by service name.
        config: what GET /config shows.
        admin: runs a command with its arguments.
    """

    def __init__(
        self,
        *,
        health: Callable[[], Mapping[str, str]],
        config: Mapping[str, Any],
        admin: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]],
    ) -> None:
        self._health = health
        self._config = config
        self._admin = admin
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; the port taken."""
        self._server = await asyncio.start_server(self._serve, host, port)
        taken: int = self._server.sockets[0].getsockname()[1]
        return taken

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                method, path, body = await _read_request(reader)
            status, kind, content = await self._answer(method, path, body)
        except (ConnectionError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            status, kind, content = _json(HTTPStatus.BAD_REQUEST, {"error": "the request cannot be read"})
        try:
            writer.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
                f"Content-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode()
            )
            writer.write(content)
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _answer(self, method: str, path: str, body: bytes | None) -> _Answer:
        if method == "GET" and path == "/metrics":
            return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(REGISTRY)
        if method == "GET" and path == "/health":
            health = self._health()
            fine = all(status == "SERVING" for status in health.values())
            return _json(HTTPStatus.OK if fine else HTTPStatus.SERVICE_UNAVAILABLE, health)
        if method == "GET" and path == "/config":
            return _json(HTTPStatus.OK, self._config)
        if method == "POST" and path.startswith("/admin/"):
            if body is None:
                return _json(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, {"error": f"Content-Type must be {_JSON}"})
            return await self._command(path.removeprefix("/admin/"), body)
        return _json(HTTPStatus.NOT_FOUND, {"error": f"{method} {path} is not served here"})

    async def _command(self, command: str, body: bytes) -> _Answer:
        try:
            arguments = json.loads(body or b"{}")
            if not isinstance(arguments, dict):
                raise InputError("body", "must be a JSON object")
            answer = await self._admin(command, arguments)
        except (InputError, json.JSONDecodeError) as error:
            return _json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except InteractVLMError as error:
            return _json(HTTPStatus.CONFLICT, {"error": str(error)})
        except Exception as error:  # noqa: BLE001 - an operator gets an answer, the log the place
            _log.exception("an admin command failed", extra={"fields": {"command": command}})
            return _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": type(error).__name__})
        _log.info("admin command done", extra={"fields": {"command": command}})
        return _json(HTTPStatus.OK, answer)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, str, bytes | None]:
    """Method, path and body; the body is None unless it is JSON."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _LARGEST_BODY:
        raise ValueError("body too long")
    body = await reader.readexactly(length)
    is_json = headers.get("content-type", "").partition(";")[0].strip() == _JSON
    return method, target.partition("?")[0], body if is_json else None


def _json(status: HTTPStatus, content: Any) -> _Answer:
    return status, _JSON, json.dumps(content, indent=1, default=str).encode() + b"\n"
