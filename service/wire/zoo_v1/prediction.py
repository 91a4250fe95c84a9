"""Servicer of `zoo.v1.Prediction`."""

from __future__ import annotations

from service.access.principal import Principal, current_principal
from service.errors import ZooError
from service.inference import Inference, current_call
from service.observability.recorder import CallContext, Recorder
from service.pb import prediction_pb2 as pb
from service.pb import prediction_pb2_grpc
from service.tasks.occlusion import MOST_PARTS
from service.types import Prediction
from service.wire.access.guard import Guard
from service.wire.calls import Context, CountedCall, deadline_of, principal_of, readable
from service.wire.frontend.answering import CountedStream, answer, check_hint, parsed
from service.wire.frontend.calls import UnaryCall
from service.wire.frontend.frontend import Frontend
from service.wire.frontend.streams import StreamCall, StreamHandler
from service.wire.status import status_of
from service.wire.stopping import Stopping
from service.wire.streams import Stream
from service.wire.zoo_v1.prediction_convert import read_request, write_response

SERVICE = pb.DESCRIPTOR.services_by_name["Prediction"].full_name
UNARY, STREAMED = "Predict", "StreamPredict"
"""Each request of a stream is counted as a call of its method."""

STREAM_WINDOW = 128
"""Requests of one stream that may be under way at once. Beyond it the stream is not read, so HTTP/2 slows the sender."""


class PredictionServicer(prediction_pb2_grpc.PredictionServicer):
    """Answers zoo.v1 predictions through the request pipeline."""

    def __init__(
        self,
        inference: Inference,
        recorder: Recorder,
        guard: Guard | None = None,
        stopping: Stopping | None = None,
    ) -> None:
        """`stopping`: ends the streams."""
        self._inference = inference
        self._recorder = recorder
        self._guard = guard or Guard()
        self._stopping = stopping or Stopping()

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:  # noqa: N802
        """See prediction.proto."""
        return await self._answer(request, deadline_of(context), current_principal.get())

    async def StreamPredict(  # type: ignore[override]  # noqa: N802  # by the context, not by iterators
        self, request_iterator: object, context: Context
    ) -> None:
        """See prediction.proto. Replies are sent as they complete."""
        deadline = deadline_of(context)

        def begin(
            message: pb.StreamPredictRequest, stream: Stream[pb.StreamPredictRequest, pb.StreamPredictResponse]
        ) -> None:
            stream.start(self._stream_answer(readable(message).request, deadline, context))

        await Stream(context, begin, STREAM_WINDOW, self._stopping).run()

    # ── by a frontend ─────────────────────────────────────────────────────────────────────────────────────────

    def add_to_frontend(self, frontend: Frontend) -> None:
        """Serves both methods there."""
        frontend.add_unary(f"/{SERVICE}/{UNARY}", self._begin_unary)
        frontend.add_stream(f"/{SERVICE}/{STREAMED}", self._open_stream, STREAM_WINDOW, self._stopping)

    def _begin_unary(self, call: UnaryCall) -> None:
        counted = CountedCall(self._recorder, UNARY, call)
        counted.belongs_to(call.principal)
        try:
            request = parsed(call, counted, pb.PredictRequest.FromString)
            if request is None:
                return
            counted.call.request_id = request.request_id
            check_hint(call, request.model, request.version)
            answer(call, counted, self._answer(request, call.deadline, call.principal))
        except Exception as error:
            call.fail(counted.failed(error), counted.request_id)

    def _open_stream(self, stream: StreamCall) -> StreamHandler:
        def begin(message: pb.StreamPredictRequest, stream: StreamCall) -> None:
            stream.start(self._stream_answer(message.request, stream.deadline, stream))

        return CountedStream(stream, self._recorder, STREAMED, pb.StreamPredictRequest.FromString, begin)

    # ── both ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _stream_answer(
        self, request: pb.PredictRequest, deadline: float | None, context: CallContext
    ) -> pb.StreamPredictResponse:
        """One request of a stream, answered or failed; counted as a call of its own."""
        counted = CountedCall(self._recorder, STREAMED, context)
        try:
            with counted:
                principal = principal_of(context)
                self._guard.check_alive(principal)
                counted.hold(principal)
                response = await self._answer(request, deadline, principal)
                return pb.StreamPredictResponse(request_id=response.request_id, response=response)
        except ZooError as error:
            return pb.StreamPredictResponse(request_id=request.request_id, error=status_of(error, counted.request_id))

    async def _answer(
        self, request: pb.PredictRequest, deadline: float | None, principal: Principal
    ) -> pb.PredictResponse:
        current_call.get().request_id = request.request_id
        principal.require_model(request.model)
        rows_each = 1 + MOST_PARTS if request.options.attribute else 1
        principal.take_rows(len(request.instances) * rows_each)
        reply = await self._inference.infer(read_request(request, deadline))
        predictions = reply.predictions
        if not any(isinstance(prediction, Prediction) for prediction in predictions):
            raise next(error for error in predictions if isinstance(error, ZooError))
        return write_response(reply, include_tensors=request.options.include_tensors)
