"""Wraps every call: counts and times it, and turns an error into a status that leaks nothing."""

from __future__ import annotations

import asyncio
import inspect
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from service.access.principal import ANYONE, Principal, current_principal
from service.database.errors import DatabaseUnavailable
from service.errors import InternalError, InvalidInput, NotFound, NotReady, RateLimited, Unauthenticated, ZooError
from service.inference import current_call
from service.observability.log import logger
from service.observability.printable import new_request_id, shown_id
from service.observability.recorder import Call, CallContext, Recorder
from service.wire.access.audited import FINISHED_ANYWAY, Audit
from service.wire.access.guard import Guard
from service.wire.status import code_of, status_of, trailers_of

log = logger(__name__)

Context = aio.ServicerContext[Any, Any]
CANCELLED = "CANCELLED"


Handler = Any
"""A grpc.RpcMethodHandler: a named tuple whose fields the type stubs do not know."""


def to_zoo_error(error: Exception, method: str, call: Call) -> ZooError:
    """An error as clients may see it: a ZooError as it is, any other as InternalError with a reference into the log."""
    if isinstance(error, ZooError):
        return error
    if isinstance(error, DatabaseUnavailable):
        log.warning("the database does not answer", method=method, reason=str(error))
        return NotReady("the server's database does not answer; try again", retry_after_s=1.0)
    reference = uuid.uuid4().hex[:12]
    log.error(
        "unexpected error",
        method=method,
        model=call.model,
        request_id=shown_id(call.request_id),
        reference=reference,
        exc_info=error,
    )
    return InternalError(reference)


class CountedServer:
    """A server as generated code sees it when it adds servicers: every call of theirs is admitted, counted and timed, and its
    errors are mapped.

    Handlers are wrapped once, here; grpc's own interceptors would wrap them at every call. They are found by name in one
    table: grpc.aio waits for each registered method by a future of its own, and touches all of these futures at every call
    (`_server_main_loop`), which for some fifty methods takes longer than the rest of a small call.
    """

    def __init__(
        self, server: aio.Server, recorder: Recorder, guard: Guard | None = None, audit: Audit | None = None
    ) -> None:
        self._methods: dict[str, Handler] = {}
        self._recorder = recorder
        self._guard = guard or Guard()
        self._audit = audit or Audit()
        self._finishing: set[asyncio.Future[Any]] = set()
        server.add_generic_rpc_handlers((_ByName(self._methods),))

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Called by generated code to add a servicer."""
        if self._recorder.tracing is not None:
            self._recorder.tracing.add_methods(service, handlers)
        self._methods |= {
            f"/{service}/{method}": self._wrap(handler, f"/{service}/{method}") for method, handler in handlers.items()
        }

    def add_generic_rpc_handlers(self, handlers: Sequence[Handler]) -> None:
        """Called by generated code with the same methods; nothing is left to do."""

    def _wrap(self, handler: Handler, path: str) -> Handler:
        handler = handler._replace(request_deserializer=_or_unreadable(handler.request_deserializer))
        if handler.response_streaming:
            return handler._replace(
                stream_stream=handler.stream_stream and self._stream(handler.stream_stream, path),
                unary_stream=handler.unary_stream and self._stream(handler.unary_stream, path),
            )
        if handler.unary_unary and self._guard.asks_for_tokens:
            # grpc.aio reads the message of a unary method before it calls the handler. As one of a stream, the message is read
            # after the caller is known, so that a stranger cannot make the server hold it.
            return grpc.stream_unary_rpc_method_handler(
                self._unary(handler.unary_unary, path, read_later=True),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return handler._replace(
            unary_unary=handler.unary_unary and self._unary(handler.unary_unary, path),
            stream_unary=handler.stream_unary and self._unary(handler.stream_unary, path),
        )

    def _unary(
        self, inner: Callable[..., Awaitable[Any]], path: str, *, read_later: bool = False
    ) -> Callable[..., Awaitable[Any]]:
        # One reply is one call, however many messages its request has.
        method = path.rpartition("/")[2]

        async def wrapped(request: Any, context: Context) -> Any:
            reply, outcome = None, CANCELLED
            counted = CountedCall(self._recorder, method, context)
            counted.call.request_id = getattr(request, "request_id", "")
            try:
                with counted:
                    principal = await self._identify(path, context)
                    counted.hold(principal)
                    if read_later:
                        request = await _first(request)
                        counted.call.request_id = getattr(request, "request_id", "")
                    self._guard.check_scope(path, principal)
                    work = inner(self._read(request, path, principal), context)
                    if path in FINISHED_ANYWAY:
                        # The caller may leave; the change is made all the same, and recorded as it ends.
                        outcome = ""
                        task = asyncio.ensure_future(work)
                        self._finishing.add(task)  # the loop alone would let it be collected
                        task.add_done_callback(partial(self._record_finished, path, request, context))
                        reply = await asyncio.shield(task)
                    else:
                        reply = await work
                        outcome = "OK"
                return reply
            except ZooError as error:
                # A flood must not fill the disk, so refusals for a rate are not recorded.
                finished = path in FINISHED_ANYWAY and not outcome
                outcome = "" if finished or isinstance(error, RateLimited) else code_of(error).name
                await abort(context, error, counted.request_id)
            finally:
                if outcome:
                    self._audit.record(path, request, reply, outcome, context)

        return wrapped

    def _record_finished(self, path: str, request: Any, context: Context, task: asyncio.Future[Any]) -> None:
        """Records a change that was finished, whether or not its caller is still there."""
        self._finishing.discard(task)
        if task.cancelled():
            self._audit.record(path, request, None, CANCELLED, context)
        elif (error := task.exception()) is None:
            self._audit.record(path, request, task.result(), "OK", context)
        else:
            outcome = code_of(error).name if isinstance(error, ZooError) else "INTERNAL"
            self._audit.record(path, request, None, outcome, context)

    def _stream(self, inner: Callable[..., Any], path: str) -> Callable[..., Any]:
        # The servicers count the requests of a stream one by one; this counts the stream itself.
        method = f"{path.rpartition('/')[2]}.stream"
        if inspect.iscoroutinefunction(inner):  # reads and writes by the context

            async def served(request: Any, context: Context) -> None:
                try:
                    with CountedCall(self._recorder, method, context) as counted:
                        counted.hold(await self._admit(path, context), stream=True)
                        await inner(_read_any(request), context)
                except ZooError as error:
                    await abort(context, error)

            return served

        async def wrapped(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                with CountedCall(self._recorder, method, context) as counted:
                    principal = await self._admit(path, context)
                    counted.hold(principal, stream=True)
                    async for reply in inner(self._read(request, path, principal), context):
                        self._guard.check_alive(principal)
                        yield reply
            except ZooError as error:
                await abort(context, error)

        return wrapped

    async def _identify(self, path: str, context: Context) -> Principal:
        principal = await self._guard.identify(path, context.invocation_metadata() or (), context.peer)
        current_principal.set(principal)  # before it is refused: the audit log says who tried
        return principal

    async def _admit(self, path: str, context: Context) -> Principal:
        principal = await self._identify(path, context)
        self._guard.check_scope(path, principal)
        return principal

    def _read(self, request: Any, path: str, principal: Principal) -> Any:
        """The request of a method that generated code calls with it: one message, or an iterator."""
        if hasattr(request, "__aiter__"):
            return self._each_read(request, principal)
        message = readable(request)
        self._guard.check_request(path, message, principal)
        return message

    async def _each_read(self, requests: AsyncIterator[Any], principal: Principal) -> AsyncIterator[Any]:
        async for request in requests:
            self._guard.check_alive(principal)
            yield readable(request)


class _ByName(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Finds methods by their full name."""

    def __init__(self, methods: Mapping[str, Handler]) -> None:
        self._methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """None for an unknown method."""
        return self._methods.get(handler_call_details.method)


class _Unreadable:
    """In place of a request: the bytes were no message of the method's type."""


_UNREADABLE = _Unreadable()


def _or_unreadable(deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Without this, gRPC answers UNKNOWN or INTERNAL and sends the text of the protobuf exception along."""
    if deserializer is None:  # a method that takes bytes
        return None

    def read(data: bytes) -> Any:
        try:
            return deserializer(data)
        except DecodeError:
            return _UNREADABLE

    return read


def readable(request: Any) -> Any:
    """The request itself. Raises InvalidInput where the bytes were no message."""
    if isinstance(request, _Unreadable):
        raise unreadable()
    return request


def unreadable() -> InvalidInput:
    """The error of a request whose bytes are no message of the method's type."""
    return InvalidInput("", "the request cannot be read: it is cut off, of another type, or a text in it is not UTF-8")


async def _first(requests: AsyncIterator[Any]) -> Any:
    """The message of a unary call. Raises InvalidInput where none comes."""
    async for request in requests:
        return request
    raise InvalidInput("", "the call has one request message; none came")


def _read_any(request: Any) -> Any:
    """A request of a stream that reads by the context: its messages are looked at by the servicer."""
    return request if hasattr(request, "__aiter__") else readable(request)


def principal_of(context: object) -> Principal:
    """Whose call it is: of a call of the frontend, which knows it, or of the grpc.aio call that this coroutine answers."""
    found = getattr(context, "principal", None)
    return found if isinstance(found, Principal) else current_principal.get()


class CountedCall:
    """The one place where calls are counted and timed: one gRPC call, or one request of a stream.

    As a context manager it counts its block, makes `call` the current call, and lets only a ZooError leave, or what ends a call
    anyway. Code without a block calls exactly one of `finished`, `failed` and `cancelled`.
    """

    __slots__ = ("_began", "_context", "_method", "_principal", "_recorder", "_release", "call")

    def __init__(
        self, recorder: Recorder, method: str, context: CallContext | None = None, call: Call | None = None
    ) -> None:
        self.call = Call() if call is None else call
        self._recorder = recorder
        self._method = method
        self._context = context
        self._began = time.monotonic()
        self._release: Callable[[], None] | None = None
        self._principal = ANYONE

    def belongs_to(self, principal: Principal) -> None:
        """Says whose call it is."""
        self.call.principal = principal.name
        self._principal = principal

    def hold(self, principal: Principal, *, stream: bool = False) -> None:
        """Counts the call among a principal's calls, or its open streams, until it ends. Raises RateLimited."""
        self.belongs_to(principal)
        limits = principal.limits
        if limits is None:
            return
        if stream:
            limits.begin_stream()
        else:
            limits.begin()
        self._release = limits.end_stream if stream else limits.end

    def __enter__(self) -> CountedCall:
        current_call.set(self.call)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None:
            self.finished("OK")
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            self.cancelled()
        elif isinstance(error, aio.AbortError):
            self.finished("UNKNOWN" if self._context is None else _name(self._context.code()))
        elif isinstance(error, Exception):
            zoo_error = self.failed(error)
            if zoo_error is not error:
                raise zoo_error from None
        else:
            self.finished("OK")

    @property
    def request_id(self) -> str:
        """The request's id, as logs and error details show it; after a failure never empty."""
        return shown_id(self.call.request_id)

    def finished(self, code: str) -> None:
        """The call ended with the status code of this name."""
        recorder, call, method, ended = self._recorder, self.call, self._method, time.monotonic()
        seconds = ended - self._began
        if self._release is not None:
            self._release()
            self._release = None
        if recorder.tracing is not None and self._context is not None:  # first: it notes the trace for the metrics
            recorder.tracing.call_finished(self._context, call, method, code, self._began, ended)
        recorder.call_finished(call, method, code, seconds)
        calls = recorder.call_log
        if calls is not None and (code != "OK" or seconds >= calls.slow_s):
            metadata = None if self._context is None else self._context.invocation_metadata()
            calls.call_finished(call, method, code, seconds, metadata)
        log.debug("call", method=method, code=code, model=call.model, request_id=call.request_id, seconds=seconds)

    def failed(self, error: Exception) -> ZooError:
        """The call ended with an error; gives it as clients may see it."""
        if not self.call.request_id:  # its caller and the log need one to speak of it
            self.call.request_id = new_request_id()
        zoo_error = _without_hidden_names(to_zoo_error(error, self._method, self.call), self._principal)
        self.call.reason = zoo_error.reason
        self.call.principal = self.call.principal or current_principal.get().name  # of a call that was not admitted
        if isinstance(zoo_error, Unauthenticated) and self._context is not None:
            self.call.peer = self._context.peer()
        self.finished(code_of(zoo_error).name)
        return zoo_error

    def cancelled(self) -> None:
        """The call ended without an answer. gRPC cancels a call whose deadline has passed as it does one whose caller left; for
        the caller they differ."""
        remaining = None if self._context is None else self._context.time_remaining()
        self.finished(CANCELLED if remaining is None or remaining > 0 else "DEADLINE_EXCEEDED")


def _without_hidden_names(error: ZooError, principal: Principal) -> ZooError:
    """The error without similar names of models that the principal may not use."""
    if principal.matcher is None or not isinstance(error, NotFound):
        return error
    return NotFound(error.kind, error.name, [name for name in error.near if principal.may_use(name)])


async def abort(context: Context, error: ZooError, request_id: str = "") -> None:
    """Ends the call with the error's status and details. Always raises."""
    status = status_of(error, request_id)
    await context.abort(code_of(error), status.message, trailers_of(status))


def deadline_of(context: CallContext) -> float | None:
    """The call's deadline on `time.monotonic()`'s clock, or None where the client set none."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


def _name(code: Any) -> str:
    """A status code's name; the context gives it as a number or as an enum, depending on the code that set it."""
    if isinstance(code, grpc.StatusCode):
        return code.name
    return next((c.name for c in grpc.StatusCode if c.value[0] == code), "UNKNOWN")
