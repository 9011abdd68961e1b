"""A user's OpenAI-compatible endpoint: chat completions over HTTP, with the patience that paid services ask for.

The service is not ours. It may be slow, refuse for a while (429 with Retry-After), break down, or answer nonsense; and
every answer costs money. So: temporary refusals are waited out, by all threads together; nothing permanent is tried
twice; the key goes to the named host alone (no redirects, no plain HTTP beyond this machine) and into no message.
"""

from __future__ import annotations

import email.utils
import http.client
import ipaddress
import json
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from interactvlm.errors import InputError, InteractVLMError

__all__ = ["KEY_VARIABLE", "ChatEndpoint", "Completion", "Endpoint", "EndpointError"]

KEY_VARIABLE = "INTERACTVLM_VQA_KEY"
"""Environment variable that holds the endpoint's key; there is no other way to give it."""

_TEMPORARY = (408, 409, 425, 429, 500, 502, 503, 504, 529)
_MAX_ANSWER_BYTES = 4 << 20
#: A service that wants more patience than this is out of order or out of credit: better to come back later.
_LONGEST_WAIT = 600.0


class EndpointError(InteractVLMError):
    """The endpoint refuses, fails for good, or cannot be reached."""

    grpc_code = "UNAVAILABLE"
    exit_code = 5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where questions are asked.

    Attributes:
        url: base address, such as "https://host/v1" (`/chat/completions` is added).
        model: the model's name there.
        key: bearer key, "" for none; shown nowhere.
        timeout: seconds without a byte after which a call counts as failed.
        attempts: tries of one call, the first included.

    Raises:
        InputError: the address or a number cannot be used, or a key would travel unencrypted.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 120.0
    attempts: int = 6

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise InputError("VQA address", f"{self.url[:200]!r} is no address") from None
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or "@" in parts.netloc:
            raise InputError("VQA address", "must be http(s)://host[:port]/path, without user, query or fragment")
        if self.key and parts.scheme == "http" and not _is_this_machine(host):
            raise InputError("VQA address", f"{self.url[:200]!r} would carry the key unencrypted; use https")
        if any(not 32 < ord(c) < 127 for c in self.key):
            raise InputError(KEY_VARIABLE, "holds characters that no key has (blanks, line ends)")
        if not self.model.strip() or len(self.model) > 200:
            raise InputError("VQA model", f"{self.model[:64]!r} is no name of a model")
        if not 0 < self.timeout <= 3600 or not 1 <= self.attempts <= 100:
            raise InputError("VQA endpoint", f"has timeout {self.timeout:g} and {self.attempts} attempts")


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer.

    Attributes:
        text: what the model said; "" where it said nothing.
        refusal: why it refuses, "" where it does not.
        prompt_tokens: paid for the question, as the service counts.
        completion_tokens: paid for the answer.
    """

    text: str
    refusal: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class ChatEndpoint:
    """Asks one endpoint; may be shared by threads.

    Args:
        endpoint: where.
        sleep: waits some seconds; None: until `give_up` at most.
        clock: seconds that only grow (`time.monotonic`).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        sleep: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self._given_up = threading.Event()
        self._sleep = sleep or self._given_up.wait
        self._clock = clock
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._opener = urllib.request.build_opener(_NoRedirects)

    def give_up(self) -> None:
        """End all waiting: calls that are not under way fail, those that are (and will be billed) may finish."""
        self._given_up.set()

    def complete(self, messages: list[dict[str, Any]], *, max_tokens: int) -> Completion:
        """One chat completion, greedy, as JSON.

        Args:
            messages: as the API takes them.
            max_tokens: bound on the answer's length.

        Raises:
            EndpointError: the service refuses for good, asks for more than ten minutes' patience, or failed
                `attempts` times; or `give_up` was called.
        """
        request = json.dumps(
            {
                "model": self.endpoint.model,
                "messages": messages,
                "max_tokens": max_tokens,
                "temperature": 0,
                "response_format": {"type": "json_object"},
            }
        ).encode()
        problem = ""
        for attempt in range(self.endpoint.attempts):
            self._wait_for_turn()
            try:
                return _completion(self._post(request))
            except _TemporaryError as trouble:
                problem = trouble.problem
                self._step_back(trouble, attempt)
        raise self._error(f"failed {self.endpoint.attempts} times, at last: {problem}")

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "User-Agent": "interactvlm"}
        if self.endpoint.key:
            headers["Authorization"] = f"Bearer {self.endpoint.key}"
        address = f"{self.endpoint.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, data=body, headers=headers, method="POST")  # noqa: S310 - http(s) only
        try:
            with self._opener.open(request, timeout=self.endpoint.timeout) as answer:
                data: bytes = answer.read(_MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error) from None
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise _TemporaryError(f"cannot be reached ({reason or type(error).__name__})") from None
        if len(data) > _MAX_ANSWER_BYTES:
            raise self._error(f"answers with more than {_MAX_ANSWER_BYTES} bytes")
        return data

    def _refusal(self, error: urllib.error.HTTPError) -> Exception:
        try:
            told = _told(error.read(65536))
        except (OSError, http.client.HTTPException):
            told = ""
        problem = f"status {error.code}{f' ({told})' if told else ''}"
        if error.code not in _TEMPORARY:
            return self._error(f"refuses: {problem}")
        return _TemporaryError(problem, _retry_after(error.headers.get("Retry-After")))

    def _wait_for_turn(self) -> None:
        while True:
            if self._given_up.is_set():
                raise self._error("was given up")
            with self._lock:
                wait = self._not_before - self._clock()
            if wait <= 0:
                return
            self._sleep(wait)

    def _step_back(self, trouble: _TemporaryError, attempt: int) -> None:
        """Let nobody ask again too early: what the service says, else longer each time, never all at once."""
        wait = trouble.retry_after
        if wait is None:
            wait = min(60.0, 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        if wait > _LONGEST_WAIT:
            raise self._error(f"{trouble.problem}; asks to come back in {wait:.0f} s, the limit is {_LONGEST_WAIT:.0f}")
        with self._lock:
            self._not_before = max(self._not_before, self._clock() + wait)

    def _error(self, problem: str) -> EndpointError:
        return EndpointError(f"{self.endpoint.url}: {self._without_key(problem)}")

    def _without_key(self, text: str) -> str:
        """Services quote the key they refuse, whole or in part."""
        key = self.endpoint.key
        for part in (key, key[:8], key[-8:]) if len(key) >= 8 else (key,):
            text = text.replace(part, "[key]") if part else text
        return text


class _TemporaryError(Exception):
    def __init__(self, problem: str, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.retry_after = retry_after


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key and the photo to a host that nobody named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _completion(data: bytes) -> Completion:
    try:
        content = json.loads(data)
        choice = content["choices"][0]
        message = choice["message"]
        text, refusal = message.get("content") or "", message.get("refusal") or ""
        if not isinstance(text, str) or not isinstance(refusal, str):
            raise TypeError
        usage = content.get("usage") or {}
        asked, answered = (int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        raise _TemporaryError("answers with something that is no chat completion") from None
    if choice.get("finish_reason") == "content_filter" and not refusal:
        refusal = "content filter"
    return Completion(text, refusal, asked, answered)


def _told(data: bytes) -> str:
    """The service's own sentence, on one line and short."""
    text = data.decode("utf-8", "replace")
    try:
        content = json.loads(text)
        error = content.get("error", content)
        text = str(error.get("message") or "") if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError, RecursionError):
        pass
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]


def _retry_after(value: str | None) -> float | None:
    """Seconds, from a number or an HTTP date; None where there is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if seconds != seconds else max(0.0, seconds)


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
