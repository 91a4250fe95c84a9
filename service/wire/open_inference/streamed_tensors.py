"""One request of a ModelStreamInfer stream on the tensor path: submitted, answered by a callback, and counted once."""

from __future__ import annotations

from service.errors import ZooError
from service.inference import Inference, TensorRequest
from service.pb import open_inference_pb2 as pb
from service.wire.calls import CountedCall
from service.wire.open_inference.model_codec import TensorCall
from service.wire.open_inference.raw_contents import Received
from service.wire.open_inference.replies import stream_error
from service.wire.streams import Stream

Incoming = pb.ModelInferRequest | Received
"""A request is `Received` behind `add_to_server`, and the message itself where other code parsed it."""

Replies = Stream[Incoming, pb.ModelStreamInferResponse]


class StreamedTensors:
    """One request. `submit` it once; it replies on its stream, at once or later, unless it is cancelled before."""

    __slots__ = ("_call", "_counted", "_message", "_request", "_stream")

    def __init__(self, stream: Replies, incoming: Received, call: TensorCall, counted: CountedCall) -> None:
        self._stream = stream
        self._message = incoming.message
        self._call = call
        self._counted = counted
        self._request: TensorRequest | None = None

    def submit(self, inference: Inference) -> None:
        """Never raises: what is wrong becomes the reply."""
        call = self._call
        try:
            self._request = inference.submit_tensors(call.model, call.items, call.deadline, call.priority, self._done)
        except ZooError as error:
            self._reply_error(error)
        else:
            self._stream.under_way.add(self)

    def cancel(self) -> None:
        """The caller has left, or the stream has ended."""
        if self._request is not None:
            self._request.cancel()
        self._counted.cancelled()

    def _done(self, request: TensorRequest) -> None:
        outcome = request.outcome
        assert outcome is not None
        self._request = None  # or the two would keep each other, and the outcome with them
        if isinstance(outcome, ZooError):
            self._reply_error(outcome)
            return
        try:
            reply = self._call.stream_response(outcome)
        except Exception as error:  # must not leave the callback: other requests of the batch wait for their answers
            self._reply_error(error)
            return
        self._counted.finished("OK")
        self._stream.reply(reply, self)

    def _reply_error(self, error: Exception) -> None:
        self._stream.reply(stream_error(self._message, self._counted.failed(error)), self)
