"""Servicer of `zoo.v1.Prediction`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from service.errors import ZooError
from service.inference import Inference
from service.observability.recorder import Recorder
from service.pb import prediction_pb2 as pb
from service.pb import prediction_pb2_grpc
from service.types import Prediction
from service.wire.calls import Context, counted, deadline_of
from service.wire.prediction_convert import read_request, write_response
from service.wire.status import status_of
from service.wire.streams import as_completed

STREAM_WINDOW = 128
"""Requests of one stream that may be in work at once. Beyond it the stream is not read, so that HTTP/2 slows the sender."""


class PredictionServicer(prediction_pb2_grpc.PredictionServicer):
    """Answers zoo.v1 predictions through the corridor."""

    def __init__(self, inference: Inference, recorder: Recorder) -> None:
        self._inference = inference
        self._recorder = recorder

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:  # noqa: N802
        """See prediction.proto."""
        return await self._answer(request, deadline_of(context))

    async def StreamPredict(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.StreamPredictRequest], context: Context
    ) -> AsyncIterator[pb.StreamPredictResponse]:
        """See prediction.proto. Replies leave as they complete."""
        deadline = deadline_of(context)

        async def answer(message: pb.StreamPredictRequest) -> pb.StreamPredictResponse:
            return await self._stream_answer(message.request, deadline)

        async with aclosing(as_completed(request_iterator, answer, STREAM_WINDOW)) as replies:
            async for reply in replies:
                yield reply

    async def _stream_answer(self, request: pb.PredictRequest, deadline: float | None) -> pb.StreamPredictResponse:
        """One request of a stream, answered or failed; counted as a call of its own."""
        try:
            with counted(self._recorder, "StreamPredict"):
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
