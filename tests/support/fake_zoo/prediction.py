"""The Prediction service of the fake server: invented answers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import duration_pb2

from service.pb import prediction_pb2, prediction_pb2_grpc
from tests.support.fake_zoo.calls import FakeCalls, abort, status_of
from tests.support.fake_zoo.models import FakeModels, unknown_model

_DRAINING = status_of("UNAVAILABLE", "the server is shutting down and takes no more requests", reason="DRAINING")
_LOADING = status_of("UNAVAILABLE", "model is loading", reason="NOT_READY", retry_s=0)
_RATE_LIMITED = status_of(
    "RESOURCE_EXHAUSTED", "the token may send 5 requests a second", reason="RATE_LIMITED", retry_s=0
)
VECTORS = {"a cat": [1.0, 0.0], "a kitten": [0.8, 0.6], "a tax form": [0.0, 1.0]}


class FakePrediction(prediction_pb2_grpc.PredictionServicer):
    def __init__(self, calls: FakeCalls, models: FakeModels) -> None:
        self._calls, self._models = calls, models
        self.hold_back = 1
        """StreamPredict collects this many requests and answers them last first."""
        self.drop_last = False
        """StreamPredict ends without an answer to the last request."""
        self.break_streams_after: deque[int] = deque()
        """Numbers of replies after which the next streams lose their connection."""
        self.drain_streams_after: deque[int] = deque()
        """Numbers of requests after which the next streams end, since the server drains; what they had is answered."""
        self.refuse_streams_after: deque[int] = deque()
        """Numbers of requests after which the next streams refuse each further one, since the server drains."""
        self.loading_streams: deque[int] = deque()
        """Numbers of requests that the next streams refuse at first, since the model loads."""
        self.rate_limited = 0
        """So many of the next requests, of calls and streams, are beyond the limits of their token."""
        self.most_unanswered = 0

    def Predict(self, request: prediction_pb2.PredictRequest, context: Any) -> prediction_pb2.PredictResponse:
        self._calls.enter("Predict", request, context)
        self._models.known(request.model, context)
        if self._is_limited():
            abort(context, _RATE_LIMITED)
        response = self._answer(request)
        if all(result.HasField("error") for result in response.predictions):
            abort(context, response.predictions[0].error)
        return response

    def StreamPredict(self, requests: Any, context: Any) -> Iterator[prediction_pb2.StreamPredictResponse]:
        self._calls.enter("StreamPredict", None, context)
        collected: list[prediction_pb2.PredictRequest] = []
        unanswered, lock = 0, threading.Lock()
        drains_after = self.drain_streams_after.popleft() if self.drain_streams_after else -1
        refuses_after = self.refuse_streams_after.popleft() if self.refuse_streams_after else -1
        breaks_after = self.break_streams_after.popleft() if self.break_streams_after else -1
        loading = self.loading_streams.popleft() if self.loading_streams else 0
        for count, message in enumerate(requests):
            if count < loading:
                yield prediction_pb2.StreamPredictResponse(request_id=message.request.request_id, error=_LOADING)
                continue
            if count == breaks_after:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            if count == drains_after:
                for request in reversed(collected):
                    yield self._stream_answer(request)
                abort(context, _DRAINING)
            if 0 <= refuses_after <= count:
                yield prediction_pb2.StreamPredictResponse(request_id=message.request.request_id, error=_DRAINING)
                continue
            self._calls.by_method["StreamPredict.request"].append(message.request)
            collected.append(message.request)
            with lock:
                unanswered += 1
                self.most_unanswered = max(self.most_unanswered, unanswered)
            if len(collected) == self.hold_back:
                for request in reversed(collected):
                    with lock:
                        unanswered -= 1
                    yield self._stream_answer(request)
                collected = []
        for request in reversed(collected[:-1] if self.drop_last else collected):
            yield self._stream_answer(request)

    def _is_limited(self) -> bool:
        self.rate_limited -= 1
        return self.rate_limited >= 0

    def _stream_answer(self, request: prediction_pb2.PredictRequest) -> prediction_pb2.StreamPredictResponse:
        if self._is_limited():
            return prediction_pb2.StreamPredictResponse(request_id=request.request_id, error=_RATE_LIMITED)
        if request.model not in self._models.by_name:
            return prediction_pb2.StreamPredictResponse(
                request_id=request.request_id, error=unknown_model(request.model)
            )
        response = self._answer(request)
        if response.predictions[0].HasField("error"):
            error = response.predictions[0].error
            return prediction_pb2.StreamPredictResponse(request_id=request.request_id, error=error)
        return prediction_pb2.StreamPredictResponse(request_id=request.request_id, response=response)

    def _answer(self, request: prediction_pb2.PredictRequest) -> prediction_pb2.PredictResponse:
        timing = prediction_pb2.Timing(
            preprocess=duration_pb2.Duration(nanos=2_000_000),
            execute=duration_pb2.Duration(nanos=30_500_000),
            batch_rows=7,
            device="cpu",
            precision="fp32",
        )
        return prediction_pb2.PredictResponse(
            model=request.model,
            version=1,
            request_id=request.request_id,
            predictions=[_result(i, instance, request.options) for i, instance in enumerate(request.instances)],
            timing=timing,
        )


def _result(
    index: int, instance: prediction_pb2.Instance, options: prediction_pb2.PredictOptions
) -> prediction_pb2.PredictionResult:
    kind = instance.WhichOneof("kind")
    raw: Any = getattr(instance, kind or "", None)
    result = prediction_pb2.PredictionResult()
    if kind in ("image", "audio") and raw.startswith(b"bad"):
        path = f"instances[{index}].{kind}"
        status = status_of("INVALID_ARGUMENT", f"this is no {kind}", reason="INVALID_INPUT", field=path)
        result.error.CopyFrom(status)
    elif kind == "image":
        names = [raw.decode(errors="replace"), "a dog", "a mug"][: options.top_k if options.HasField("top_k") else 2]
        for i, name in enumerate(names):
            result.classification.labels.add(index=i, name=name, score=0.9 - 0.4 * i)
        if options.attribute:
            result.attribution.label.CopyFrom(result.classification.labels[0])
            area = prediction_pb2.Box(xmax=8, ymax=6)
            result.attribution.heat_map.CopyFrom(
                prediction_pb2.HeatMap(rows=1, columns=2, weights=[0.5, -0.25], area=area)
            )
    elif kind == "text_pair":
        result.embedding.values[:] = [0.6, 0.8]
    elif kind == "text":
        result.embedding.values[:] = VECTORS.get(raw, [0.6, 0.8])
        result.notes.update({"truncated": len(raw) > 20, "tokens": len(raw)})
    elif kind in ("audio", "samples"):
        part = result.segments.segments.add(score=0.75)
        part.start.nanos, part.end.seconds = 500_000_000, 2
        result.segments.frame_duration.nanos = 32_000_000
        result.segments.frame_probabilities[:] = [0.25, 0.75]
        result.segments.duration.seconds = 3
    elif kind == "row":
        if "bad" in raw.fields:
            path = f"instances[{index}].row.bad"
            status = status_of("INVALID_ARGUMENT", "no column 'bad'", reason="INVALID_INPUT", field=path)
            result.error.CopyFrom(status)
        else:
            result.regression.value = raw.fields["area"].number_value
            if "rooms" in raw.fields:
                result.regression.lower, result.regression.upper = 0.0, 100.0
    elif kind == "series":
        result.forecast.channels = raw.channels
        result.forecast.values[:] = list(raw.values)[-raw.channels :] * 2
        if raw.values[0] == 1:
            result.forecast.lower[:] = [value - 1 for value in result.forecast.values]
            result.forecast.upper[:] = [value + 1 for value in result.forecast.values]
    elif kind == "record":
        result.regression.value = len(raw.parts["image"].image)
    elif kind == "tensors":
        result.tensors.CopyFrom(raw)
    return result
