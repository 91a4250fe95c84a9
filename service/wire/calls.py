"""What happens around every call: it is counted and timed, and an error becomes a status that leaks nothing."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from service.database.errors import DatabaseUnavailable
from service.errors import InternalError, InvalidInput, NotReady, ZooError
from service.inference import current_call
from service.observability.log import logger
from service.observability.recorder import Call, Recorder
from service.wire.status import code_of, status_of, trailers_of

log = logger(__name__)

Context = aio.ServicerContext[Any, Any]
Handler = Any
"""A grpc.RpcMethodHandler: a named tuple whose fields the type stubs do not know."""


def to_zoo_error(error: Exception, method: str, call: Call | None = None) -> ZooError:
    """An error as clients may see it: our own as it is, a foreign one as InternalError with a reference into the log.

    `call`: what is known of it, where that is not `current_call`.
    """
    if isinstance(error, ZooError):
        return error
    if isinstance(error, DatabaseUnavailable):
        log.warning("the database does not answer", method=method, reason=str(error))
        return NotReady("the server's database does not answer; try again", retry_after_s=1.0)
    reference = uuid.uuid4().hex[:12]
    call = call or current_call.get(Call())
    log.error(
        "unexpected error",
        method=method,
        model=call.model,
        request_id=call.request_id,
        reference=reference,
        exc_info=error,
    )
    return InternalError(reference)


class CountedServer:
    """Stands before a server where servicers are added: every call of theirs is counted, timed, and its errors mapped.

    Handlers are wrapped once, here; grpc's own interceptors would wrap them anew at every call. They are found by their name in
    one table: grpc.aio waits for each method that is registered with it by a future of its own, and at every call touches
    all of them (`_server_main_loop`), which for some fifty methods takes longer than the rest of a small call.
    """

    def __init__(self, server: aio.Server, recorder: Recorder) -> None:
        self._methods: dict[str, Handler] = {}
        self._recorder = recorder
        server.add_generic_rpc_handlers((_ByName(self._methods),))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """What generated code calls to add a servicer."""
        self._methods |= {f"/{service}/{method}": self._wrap(handler, method) for method, handler in handlers.items()}

    def add_generic_rpc_handlers(self, handlers: Sequence[Handler]) -> None:
        """Generated code calls this, too, with the same methods; there is nothing left to do."""

    def _wrap(self, handler: Handler, method: str) -> Handler:
        handler = handler._replace(request_deserializer=_or_unreadable(handler.request_deserializer))
        if handler.response_streaming:
            return handler._replace(
                stream_stream=handler.stream_stream and self._stream(handler.stream_stream, method),
                unary_stream=handler.unary_stream and self._stream(handler.unary_stream, method),
            )
        return handler._replace(
            unary_unary=handler.unary_unary and self._unary(handler.unary_unary, method),
            stream_unary=handler.stream_unary and self._unary(handler.stream_unary, method),
        )

    def _unary(self, inner: Callable[..., Awaitable[Any]], method: str) -> Callable[..., Awaitable[Any]]:
        # One reply is one call, however many messages its request comes in.
        async def wrapped(request: Any, context: Context) -> Any:
            try:
                with counted(self._recorder, method, context):
                    return await inner(_read_any(request), context)
            except ZooError as error:
                await abort(context, error)

        return wrapped

    def _stream(self, inner: Callable[..., Any], method: str) -> Callable[..., Any]:
        # The requests on a stream are counted one by one where they are answered; this counts the stream itself.
        if inspect.iscoroutinefunction(inner):  # it reads and writes by the context

            async def served(request: Any, context: Context) -> None:
                try:
                    with counted(self._recorder, f"{method}.stream", context):
                        await inner(_read_any(request), context)
                except ZooError as error:
                    await abort(context, error)

            return served

        async def wrapped(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                with counted(self._recorder, f"{method}.stream", context):
                    async for reply in inner(_read_any(request), context):
                        yield reply
            except ZooError as error:
                await abort(context, error)

        return wrapped


class _ByName(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Methods by their full name."""

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        self._methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """None for a method that nobody has."""
        return self._methods.get(handler_call_details.method)


class _Unreadable:
    """Stands for bytes that are no message of the type that the method takes."""


_UNREADABLE = _Unreadable()


def _or_unreadable(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Left to itself, gRPC answers UNKNOWN or INTERNAL and sends the words of the protobuf exception along."""
    if deserializer is None:  # a method that takes bytes as they are
        return None

    def read(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError:
            return _UNREADABLE

    return read


def readable(request: Any) -> Any:
    """A request as it came. Raises InvalidInput where it was no message."""
    if isinstance(request, _Unreadable):
        raise InvalidInput(
            "", "the request cannot be read: it is cut off, of another type, or a text in it is not UTF-8"
        )
    return request


def _read_any(request: Any) -> Any:
    return _each_read(request) if hasattr(request, "__aiter__") else readable(request)


async def _each_read(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield readable(request)


@contextmanager
def counted(recorder: Recorder, method: str, context: Context | None = None) -> Iterator[None]:
    """Counts and times the block as one call of `method`. What leaves it is a ZooError, or what ends a call anyway."""
    began, call, code = time.monotonic(), Call(), "OK"
    current_call.set(call)
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        # gRPC cancels a call whose deadline has passed as it does one whose caller left; the caller saw the difference.
        remaining = context.time_remaining() if context is not None else None
        code = "CANCELLED" if remaining is None or remaining > 0 else "DEADLINE_EXCEEDED"
        raise
    except aio.AbortError:
        code = _name(context.code()) if context is not None else "UNKNOWN"
        raise
    except Exception as error:
        zoo_error = to_zoo_error(error, method)
        code = code_of(zoo_error).name
        raise zoo_error from None
    finally:
        seconds = time.monotonic() - began
        recorder.call_finished(call, method, code, seconds)
        log.debug("call", method=method, code=code, model=call.model, request_id=call.request_id, seconds=seconds)


async def abort(context: Context, error: ZooError) -> None:
    """Ends the call with the error's status and details. Always raises."""
    status = status_of(error)
    await context.abort(code_of(error), status.message, trailers_of(status))


def deadline_of(context: Context) -> float | None:
    """The call's deadline on `time.monotonic()`'s clock, or None where the client set none."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


def _name(code: Any) -> str:
    """A status code's name; the context gives it as a number or as an enum, depending on who set it."""
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((c.name for c in grpc.StatusCode if c.value[0] == code), "UNKNOWN")
