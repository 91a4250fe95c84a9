"""One `stream_predict`: requests go out while replies come in, and a stream that ends early is opened again.

gRPC draws requests from an iterator of ours, in a thread or task of its own, and an attempt's iterator may outlive the
attempt: it can be blocked in the caller's inputs. All attempts therefore share one buffer. Each attempt sends the unanswered
requests of the buffer from the first input on, and then draws further inputs.

A stream that breaks is opened again only before its first reply. After it, the server may have executed requests whose replies
are lost, so the error is raised. A server that drains answers what it has begun, refuses each further request with DRAINING, and
then ends the stream with it. None of these requests has begun, so a stream to another server takes them. gRPC's own retries are
off for StreamPredict (`channel.py`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable

import grpc

from service.client._async.connection import AsyncConnection
from service.client._async.input_encoder import AsyncInputEncoder
from service.client.backoff import Backoff
from service.client.channel import CALL_TIMEOUT_S
from service.client.concurrency import AsyncLock, AsyncSemaphore, as_async_iterator, async_sleep
from service.client.errors import BadInput, PredictionError, Unavailable, ZooClientError, prediction_error
from service.client.inputs.instances import Input
from service.client.inputs.options import PredictOptions
from service.client.reorder_buffer import ReorderBuffer
from service.client.results import Outcome
from service.pb import prediction_pb2 as pb

_END = object()
_DRAINING = "DRAINING"
"""The reason with which a server that is about to stop refuses requests."""
_NOT_READY = "NOT_READY"
"""The reason with which a server refuses requests while the model loads; it says when to try again."""


class _Attempt:
    """One stream to a server."""

    def __init__(self) -> None:
        self.answered = False
        """Whether a reply has arrived."""
        self.refused = 0
        """Requests that the server has not begun, since it drains, or loads after that."""
        self.refusal: PredictionError | None = None
        """The last one."""
        self.over = False
        """Whether its iterator ends at the next chance. A draw that is under way is not cancelled: it would lose an input."""


class AsyncPredictionStream:
    """Owned by one call. `outcomes` runs on the caller's side, `_requests` and all that it calls on gRPC's."""

    def __init__(
        self,
        connection: AsyncConnection,
        encoder: AsyncInputEncoder,
        model: str,
        version: str,
        options: PredictOptions,
        in_flight: int,
    ) -> None:
        self._connection = connection
        self._encoder = encoder
        self._model = model
        self._version = version
        self._options = options
        self._slots = AsyncSemaphore(in_flight)
        self._drawing = AsyncLock()
        """Held by the iterator that draws the next input. The holder alone waits for a slot."""
        self._buffer = ReorderBuffer()
        self._complete = False
        """Whether the inputs have ended."""
        self._closed = False
        self._moved = False
        """Whether a server has drained."""
        self._input_error: Exception | None = None

    async def outcomes(
        self, inputs: Iterable[Input] | AsyncIterable[Input], timeout: float | None
    ) -> AsyncIterator[Outcome]:
        """The results in the order of the inputs. Raises ZooClientError, and what `inputs` raises."""
        values = as_async_iterator(inputs)
        options = self._options.message()
        backoff = Backoff(self._connection.retry)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                failure: ZooClientError | None = None
                attempt = _Attempt()
                remaining_s = None if deadline is None else max(0.0, deadline - time.monotonic())
                call = self._connection.prediction.StreamPredict(
                    self._requests(values, options, attempt), timeout=remaining_s, metadata=self._connection.metadata
                )
                try:
                    async for reply in call:
                        refusal = self._refusal(reply)
                        if refusal is not None:
                            attempt.refused += 1
                            attempt.refusal = refusal
                        else:
                            attempt.answered = True
                            self._add_reply(reply)
                            for outcome in self._buffer.take():
                                yield outcome
                        if attempt.refused and attempt.refused >= self._buffer.waiting:
                            attempt.over = True
                            break
                except grpc.RpcError as error:
                    failure = await self._connection.failure(error)
                finally:
                    if not attempt.over:
                        call.cancel()
                refusal = attempt.refusal if failure is None else None  # the server answered or refused every request
                if refusal is not None:
                    failure = Unavailable(
                        refusal.message, code=refusal.code, reason=refusal.reason, retry_after_s=refusal.retry_after_s
                    )
                if failure is None or (failure.reason == _DRAINING and self._complete and not self._buffer.waiting):
                    break
                nothing_lost = refusal is not None or failure.reason == _DRAINING
                if attempt.answered and not nothing_lost:
                    raise failure
                if attempt.answered or (nothing_lost and not self._moved):
                    backoff.reset()
                self._moved = self._moved or nothing_lost
                pause_s = backoff.next_pause(failure)
                await async_sleep(pause_s if remaining_s is None else min(pause_s, remaining_s))
        finally:
            self._close()
        for outcome in self._buffer.take_rest():
            yield outcome
        if self._input_error is not None:
            raise self._input_error

    def _refusal(self, reply: pb.StreamPredictResponse) -> PredictionError | None:
        """The refusal of a request that the server has not begun and that a later stream may get answered: the server drains, or
        one that has taken its place still loads the model."""
        if self._connection.retry.attempts == 1 or reply.WhichOneof("outcome") != "error":
            return None
        error = prediction_error(reply.error, 0)
        loads = self._moved and error.reason == _NOT_READY and error.retry_after_s is not None
        return error if loads or error.reason == _DRAINING else None

    def _add_reply(self, reply: pb.StreamPredictResponse) -> None:
        self._buffer.add_reply(reply)
        self._slots.release()

    def _close(self) -> None:
        """Ends the iterators that gRPC still draws from."""
        self._closed = True
        self._slots.release()  # wakes the iterator that waits for a slot

    async def _requests(
        self, values: AsyncIterator[Input], options: pb.PredictOptions, attempt: _Attempt
    ) -> AsyncIterator[pb.StreamPredictRequest]:
        """The requests of one attempt, from the first input without a reply. Raises nothing: gRPC iterates it."""
        index = 0
        while not self._closed and not attempt.over:
            if index < self._buffer.added:
                request = self._buffer.unanswered(index)
                index += 1
                if request is not None:
                    yield request
            elif self._complete:
                return
            else:
                async with self._drawing:
                    # Another iterator may have drawn an input while this one waited.
                    if index == self._buffer.added and not self._complete and not self._closed:
                        await self._draw(values, options)

    async def _draw(self, values: AsyncIterator[Input], options: pb.PredictOptions) -> None:
        """Adds the next input, or notes that there is none. An input that cannot be sent gets its error as result."""
        try:
            value: object = await anext(values, _END)
            if value is _END:
                self._complete = True
                return
            await self._slots.acquire()
            if self._closed:
                return
            try:
                request = await self._encoder.request(self._model, [value], self._version, options, CALL_TIMEOUT_S)  # type: ignore[list-item]
            except BadInput as error:
                self._buffer.add_failure(error)
                self._slots.release()
            else:
                self._buffer.add_request(request)
        except Exception as error:
            self._input_error = error
            self._complete = True
