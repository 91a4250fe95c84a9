"""Answers unary calls and streams by coroutines, for requests that need preprocessing or a wait."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from service.errors import InvalidInput, NotReady, ZooError
from service.observability.recorder import Recorder
from service.wire.calls import CountedCall, unreadable
from service.wire.frontend.calls import UnaryCall
from service.wire.frontend.streams import StreamCall

Request = TypeVar("Request")


def answer(call: UnaryCall, counted: CountedCall, coroutine: Coroutine[Any, Any, Message]) -> None:
    """Has a task answer a call; the task is cancelled when the caller leaves."""
    task = asyncio.get_running_loop().create_task(_answer(call, counted, coroutine))

    def cancel() -> None:  # also keeps the task alive
        task.cancel()
        if inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:  # the task will never begin
            coroutine.close()
            counted.cancelled()

    call.on_cancel = cancel


async def _answer(call: UnaryCall, counted: CountedCall, coroutine: Coroutine[Any, Any, Message]) -> None:
    try:
        with counted:
            data = (await coroutine).SerializeToString()
    except ZooError as error:
        call.fail(error, counted.request_id)
    except asyncio.CancelledError:
        call.fail(NotReady("the server ended the request; try again"))  # does nothing where the caller has left
        raise
    else:
        call.reply(data)


def parsed(call: UnaryCall, counted: CountedCall, parse: Callable[[bytes], Request]) -> Request | None:
    """The call's message. Where its bytes are none, the call is answered, and the result is None."""
    try:
        return parse(call.message)
    except DecodeError:
        call.fail(counted.failed(unreadable()), counted.request_id)
        return None


def check_hint(call: UnaryCall, model: str, version: str) -> None:
    """Raises InvalidInput where the call's metadata name another model or version than its message."""
    if call.hint is None:
        return
    for key, said, meant in zip(("zoo-model", "zoo-version"), call.hint, (model, version), strict=True):
        if said != meant and (said or key == "zoo-model"):
            expected = f"{meant!r} as in the message" if meant else "none, as in the message"
            raise InvalidInput(f"metadata[{key}]", f"expected {expected}, got {said!r}")


class CountedStream(Generic[Request]):
    """Serves one stream: parses its messages, and counts the stream itself as a call."""

    def __init__(
        self,
        stream: StreamCall,
        recorder: Recorder,
        method: str,
        parse: Callable[[bytes], Request],
        begin: Callable[[Request, StreamCall], None],
    ) -> None:
        self._stream = stream
        self._counted = CountedCall(recorder, f"{method}.stream", stream)
        self._parse = parse
        self._begin = begin

    def begin(self, data: bytes) -> None:
        """See StreamHandler."""
        try:
            request = self._parse(data)
        except DecodeError:
            raise unreadable() from None
        self._begin(request, self._stream)

    def ended(self, error: BaseException | None) -> None:
        """See StreamHandler. Raises a ZooError as clients may see it, where one ended the stream."""
        if error is None:
            self._counted.finished("OK")
        elif isinstance(error, Exception):
            raise self._counted.failed(error)
        else:  # the caller has left
            self._counted.cancelled()
