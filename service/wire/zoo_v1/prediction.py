"""Servicer of `zoo.v1.Prediction`."""

from __future__ import annotations

from service.errors import ZooError
from service.inference import Inference
from service.observability.recorder import Recorder
from service.pb import prediction_pb2 as pb
from service.pb import prediction_pb2_grpc
from service.types import Prediction
from service.wire.calls import Context, CountedCall, deadline_of, readable
from service.wire.status import status_of
from service.wire.streams import Stream
from service.wire.zoo_v1.prediction_convert import read_request, write_response

STREAM_WINDOW = 128
"""Requests of one stream that may be under way at once. Beyond it the stream is not read, so HTTP/2 slows the sender."""


class PredictionServicer(prediction_pb2_grpc.PredictionServicer):
    """Answers zoo.v1 predictions through the request pipeline."""

    def __init__(self, inference: Inference, recorder: Recorder) -> None:
        self._inference = inference
        self._recorder = recorder

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:  # noqa: N802
        """See prediction.proto."""
        return await self._answer(request, deadline_of(context))

    async def StreamPredict(  # type: ignore[override]  # noqa: N802  # by the context, not by iterators
        self, request_iterator: object, context: Context
    ) -> None:
        """See prediction.proto. Replies are sent as they complete."""
        deadline = deadline_of(context)

        def begin(
            message: pb.StreamPredictRequest, stream: Stream[pb.StreamPredictRequest, pb.StreamPredictResponse]
        ) -> None:
            stream.start(self._stream_answer(readable(message).request, deadline, context))

        await Stream(context, begin, STREAM_WINDOW).run()

    async def _stream_answer(
        self, request: pb.PredictRequest, deadline: float | None, context: Context
    ) -> pb.StreamPredictResponse:
        """One request of a stream, answered or failed; counted as a call of its own."""
        try:
            with CountedCall(self._recorder, "StreamPredict", context):
                response = await self._answer(request, deadline)
                return pb.StreamPredictResponse(request_id=response.request_id, response=response)
        except ZooError as error:
            return pb.StreamPredictResponse(request_id=request.request_id, error=status_of(error))

    async def _answer(self, request: pb.PredictRequest, deadline: float | None) -> pb.PredictResponse:
        reply = await self._inference.infer(read_request(request, deadline))
        predictions = reply.predictions
        if not any(isinstance(prediction, Prediction) for prediction in predictions):
            raise next(error for error in predictions if isinstance(error, ZooError))
        return write_response(reply, include_tensors=request.options.include_tensors)
