"""One request on the tensor path: submitted, answered by a callback, and counted once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from service.errors import ZooError
from service.inference import Inference, TensorRequest
from service.pb import open_inference_pb2 as pb
from service.types import Tensors
from service.wire.calls import CountedCall
from service.wire.frontend.calls import UnaryCall
from service.wire.open_inference.model_codec import TensorCall
from service.wire.open_inference.raw_contents import Received
from service.wire.open_inference.replies import stream_error
from service.wire.streams import UnderWay

Incoming = pb.ModelInferRequest | Received
"""A request is `Received` behind `add_to_server`, and the message itself where other code parsed it."""


class Replies(Protocol):
    """A stream that gets its replies by any frontend."""

    under_way: set[UnderWay]
    """Requests that are being answered."""

    def reply(self, message: pb.ModelStreamInferResponse, request: UnderWay | None = None) -> None:
        """Sends a reply; `request` is what was under way for it."""

    def start(self, answer: Coroutine[Any, Any, pb.ModelStreamInferResponse]) -> None:
        """Has a coroutine answer a request."""


class Reply(Protocol):
    """Where the outcome of a request goes."""

    def began(self, request: UnderWay) -> None:
        """The request is under way."""

    def write(self, rows: Sequence[Tensors]) -> Callable[[UnderWay], None]:
        """Makes the reply from the rows' outputs; gives what sends it. May raise."""

    def fail(self, error: ZooError, request_id: str, request: UnderWay) -> None:
        """Sends an error. `request_id`: of the request, as error details show it."""


class StreamReply:
    """A reply on a stream."""

    __slots__ = ("_message", "_stream", "_tensors")

    def __init__(self, stream: Replies, message: pb.ModelInferRequest, tensors: TensorCall) -> None:
        self._stream = stream
        self._message = message
        self._tensors = tensors

    def began(self, request: UnderWay) -> None:
        """See Reply."""
        self._stream.under_way.add(request)

    def write(self, rows: Sequence[Tensors]) -> Callable[[UnderWay], None]:
        """See Reply."""
        reply = self._tensors.stream_response(rows)
        return lambda request: self._stream.reply(reply, request)

    def fail(self, error: ZooError, request_id: str, request: UnderWay) -> None:
        """See Reply. The error of a stream is a text: it has no details."""
        self._stream.reply(stream_error(self._message, error), request)


class UnaryReply:
    """The reply of a unary call."""

    __slots__ = ("_call", "_tensors")

    def __init__(self, call: UnaryCall, tensors: TensorCall) -> None:
        self._call = call
        self._tensors = tensors

    def began(self, request: UnderWay) -> None:
        """See Reply."""
        self._call.on_cancel = request.cancel

    def write(self, rows: Sequence[Tensors]) -> Callable[[UnderWay], None]:
        """See Reply."""
        data = self._tensors.response(rows).SerializeToString()
        return lambda _: self._call.reply(data)

    def fail(self, error: ZooError, request_id: str, request: UnderWay) -> None:
        """See Reply."""
        self._call.fail(error, request_id)


class SubmittedTensors:
    """One request. `submit` it once; it replies, at once or later, unless it is cancelled before."""

    __slots__ = ("_counted", "_reply", "_request", "_tensors")

    def __init__(self, tensors: TensorCall, counted: CountedCall, reply: Reply) -> None:
        self._tensors = tensors
        self._counted = counted
        self._reply = reply
        self._request: TensorRequest | None = None

    def submit(self, inference: Inference) -> None:
        """Never raises: what is wrong becomes the reply."""
        tensors = self._tensors
        try:
            self._request = inference.submit_tensors(
                tensors.model, tensors.items, tensors.deadline, tensors.priority, self._done
            )
        except Exception as error:
            self._fail(error)
        else:
            self._reply.began(self)

    def cancel(self) -> None:
        """The caller has left, or the stream has ended."""
        if self._request is not None:
            self._request.cancel()
        self._counted.cancelled()

    def _done(self, request: TensorRequest) -> None:
        outcome = request.outcome
        assert outcome is not None
        self._counted.call.timing = request.timing
        self._request = None  # or the two would keep each other, and the outcome with them
        if isinstance(outcome, ZooError):
            self._fail(outcome)
            return
        try:
            send = self._reply.write(outcome)
        except Exception as error:  # must not leave the callback: other requests of the batch wait for their answers
            self._fail(error)
            return
        self._counted.finished("OK")
        send(self)

    def _fail(self, error: Exception) -> None:
        self._reply.fail(self._counted.failed(error), self._counted.request_id, self)
