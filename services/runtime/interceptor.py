"""One call's way through the server: request id, token, quota, deadline, trace; typed errors, counts and a log line.

One interceptor instead of one per concern: their order matters, and each extra layer costs every call.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from opentelemetry.trace import Span
from opentelemetry.trace.status import StatusCode as SpanStatus

from interactvlm.errors import CancelledError, CheckpointError, DeadlineExceededError, InputError, InteractVLMError
from interactvlm.stages import CallContext
from services.runtime import metrics
from services.runtime.admission import Admission
from services.runtime.calls import PRIORITY_KEY, REQUEST_ID_KEY, Call, Priority, set_current_call
from services.runtime.status import from_rpc_error, reason_of, to_status, to_trailers
from services.runtime.tokens import Token
from services.runtime.tracing import TRACEPARENT_KEY, Tracing

__all__ = ["CallInterceptor"]

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[Any, Any]
_calls_log = logging.getLogger("interactvlm.calls")
_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
#: gRPC rounds a timeout up by as much as 1 % on the wire (20.01 s travels as 20.1 s); the client's clock does not.
_TIMEOUT_ROUNDING = 0.99
#: gRPC's own streams (reflection) are left open by the tools that use them; they end when the server drains.
_GRPC_OWN = "/grpc."
#: Health answers whoever asks, also while nothing else is answered.
_OPEN = "/grpc.health.v1.Health/"


@dataclass(slots=True)
class _Turn:
    """What is known of one call while it is inside."""

    method: str
    request_id: str
    began: float
    span: Span | None
    metadata: dict[str, Any]
    token: Token | None = None
    call: Call | None = None


class _Malformed:
    """Stands in for a request whose bytes are no message."""


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler of the server.

    Args:
        admission: decides who may enter.
        tracing: makes spans.
        deadline_margin: seconds kept back for the way of the answer.
        default_deadline: seconds for a unary call that states none, 0 for no limit.
        draining: set once the server drains.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        tracing: Tracing,
        deadline_margin: float,
        default_deadline: float,
        draining: asyncio.Event,
    ) -> None:
        self._admission = admission
        self._tracing = tracing
        self._margin = deadline_margin
        self._default_deadline = default_deadline
        self._draining = draining
        self._wrapped: dict[str, _Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """See `grpc.aio.ServerInterceptor`."""
        method: str = handler_call_details.method
        found = self._wrapped.get(method)
        if found is None:
            handler = await continuation(handler_call_details)
            if handler is None or method.startswith(_OPEN):
                return handler
            found = self._wrapped[method] = self._wrap(method, handler)
        return found

    def _wrap(self, method: str, handler: Any) -> _Handler:
        deserialize = _forgiving(handler.request_deserializer)
        if handler.response_streaming:
            behaviour = handler.stream_stream if handler.request_streaming else handler.unary_stream

            async def answers(request: Any, context: Any) -> AsyncIterator[Any]:
                turn = self._arrive(method, context)
                try:
                    call = self._enter(turn, context, unary=False)
                    async with asyncio.timeout(call.context.remaining()):
                        checked = _checked(request)
                        if method.startswith(_GRPC_OWN):
                            checked = _until(self._draining, checked)
                        async for response in behaviour(checked, context):
                            yield response
                except BaseException as error:  # noqa: BLE001 - `_fail` raises again
                    await self._fail(turn, context, error)
                finally:
                    self._leave(turn)
                self._succeed(turn, context)

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(answers, deserialize, handler.response_serializer)

        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def answer(request: Any, context: Any) -> Any:
            turn = self._arrive(method, context)
            try:
                call = self._enter(turn, context, unary=not handler.request_streaming)
                async with asyncio.timeout(call.context.remaining()):
                    response = await behaviour(_checked(request), context)
            except BaseException as error:  # noqa: BLE001 - `_fail` raises again
                await self._fail(turn, context, error)
            finally:
                self._leave(turn)
            self._succeed(turn, context)
            return response

        make_unary = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make_unary(answer, deserialize, handler.response_serializer)

    def _arrive(self, method: str, context: Any) -> _Turn:
        metadata = dict(context.invocation_metadata())
        request_id = metadata.get(REQUEST_ID_KEY, "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(8)
        metrics.CALLS_IN_FLIGHT.inc()
        span = self._tracing.serve(method, metadata.get(TRACEPARENT_KEY))
        return _Turn(method, request_id, time.monotonic(), span, metadata)

    def _enter(self, turn: _Turn, context: Any, *, unary: bool) -> Call:
        token, owner = self._admission.identify(turn.method, turn.metadata, context)
        remaining = context.time_remaining()
        if remaining is None and unary and self._default_deadline:
            remaining = self._default_deadline
        turn.call = Call(
            owner=owner,
            scopes=token.scopes,
            request_id=turn.request_id,
            context=CallContext.within(None if remaining is None else remaining * _TIMEOUT_ROUNDING - self._margin),
            priority=Priority.parse(turn.metadata.get(PRIORITY_KEY, "")),
            method=turn.method,
            draining=self._draining,
        )
        set_current_call(turn.call)
        turn.call.context.check()
        self._admission.enter(turn.method, token)
        turn.token = token
        return turn.call

    def _leave(self, turn: _Turn) -> None:
        metrics.CALLS_IN_FLIGHT.dec()
        if turn.token is not None:
            self._admission.leave(turn.token)

    def _succeed(self, turn: _Turn, context: Any) -> None:
        context.set_trailing_metadata(((REQUEST_ID_KEY, turn.request_id),))
        self._record(turn, "OK", "")

    async def _fail(self, turn: _Turn, context: Any, error: BaseException) -> NoReturn:
        """End the call with the status of `error`; always raises."""
        if turn.call is not None:
            turn.call.context.cancel()
        if isinstance(error, (GeneratorExit, grpc.aio.AbortError)):
            self._record(turn, "CANCELLED" if isinstance(error, GeneratorExit) else "ABORTED", "HANDLER")
            raise error
        if isinstance(error, asyncio.CancelledError):
            # gRPC cancels the task when the client left or its time ran out; nobody reads a status any more.
            late = context.time_remaining() == 0
            gone = DeadlineExceededError("") if late else CancelledError("")
            self._record(turn, gone.grpc_code, reason_of(gone))
            raise error
        if isinstance(error, TimeoutError) and turn.call is not None and (turn.call.context.remaining() or 1) <= 0:
            error = DeadlineExceededError("the deadline passed before the answer was ready")
        elif isinstance(error, grpc.aio.AioRpcError):
            error = from_rpc_error(error)
        if not isinstance(error, InteractVLMError):
            _log.error("a call failed unexpectedly", exc_info=error, extra={"fields": {"method": turn.method}})
            if not isinstance(error, Exception):
                raise error
        elif isinstance(error, CheckpointError):
            _log.error("a checkpoint cannot be used: %s", error, extra={"fields": {"method": turn.method}})
        status = to_status(error, request_id=turn.request_id)
        code = _CODES[status.code]
        self._record(turn, code.name, reason_of(error))
        trailers = ((REQUEST_ID_KEY, turn.request_id), *to_trailers(error, status))
        await context.abort(code, status.message, trailers)
        raise AssertionError("abort raises")

    def _record(self, turn: _Turn, code: str, reason: str) -> None:
        seconds = time.monotonic() - turn.began
        _ended(turn.method, code, reason).inc()
        _seconds(turn.method).observe(seconds)
        if turn.span is not None and turn.span.is_recording():
            turn.span.set_attribute("rpc.grpc.status", code)
            turn.span.set_attribute("interactvlm.request_id", turn.request_id)
            if reason:
                turn.span.set_attribute("interactvlm.reason", reason)
                turn.span.set_status(SpanStatus.ERROR)
            turn.span.end()
        if _calls_log.isEnabledFor(logging.INFO):
            fields: dict[str, Any] = {"method": turn.method, "code": code, "request_id": turn.request_id}
            fields["seconds"] = round(seconds, 6)
            if reason:
                fields["reason"] = reason
            if turn.call is not None:
                fields["owner"] = turn.call.owner
            if turn.span is not None:
                fields["trace_id"] = f"{turn.span.get_span_context().trace_id:032x}"
            _calls_log.info("call", extra={"fields": fields})


# Looking a metric's labels up costs more than counting; methods, codes and reasons are few.
_ended = cache(metrics.CALLS.labels)
_seconds = cache(metrics.CALL_SECONDS.labels)
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


def _forgiving(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if deserialize is None:
        return None

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except Exception:  # noqa: BLE001 - protobuf raises several kinds; the handler's wrapper answers all of them
            return _MALFORMED

    return read


_MALFORMED = _Malformed()
_END = object()


def _checked(request: Any) -> Any:
    if request is _MALFORMED:
        raise InputError("request", "its bytes are not a valid message of this method")
    return request if not hasattr(request, "__aiter__") else _checked_stream(request)


async def _checked_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


async def _until(ended: asyncio.Event, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The requests that come before `ended` is set, as if the caller had sent no more."""
    ending = asyncio.create_task(ended.wait())
    try:
        while True:
            reading = asyncio.ensure_future(anext(requests, _END))
            await asyncio.wait({ending, reading}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done() or (request := reading.result()) is _END:
                reading.cancel()
                return
            yield request
    finally:
        ending.cancel()
