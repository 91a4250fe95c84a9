"""A small zoo.v1 server in this process: real gRPC on a free port, invented answers."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from service.pb import fine_tuning_pb2_grpc, models_pb2, models_pb2_grpc, prediction_pb2, prediction_pb2_grpc
from tests.support.cli_fine_tuning import FakeTuning

VECTORS = {"a cat": [1.0, 0.0], "a kitten": [0.8, 0.6], "a tax form": [0.0, 1.0]}


def status_of(
    code: str, message: str, *, reason: str = "", field: str = "", retry_s: int | None = None
) -> status_pb2.Status:
    """A google.rpc.Status as the server sends them."""
    details: list[Any] = [error_details_pb2.ErrorInfo(reason=reason, domain="zoo")] if reason else []
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_s is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=retry_s)))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code_pb2.Code.Value(code), message=message, details=packed)


class FakeZoo(FakeTuning, prediction_pb2_grpc.PredictionServicer, models_pb2_grpc.ModelsServicer):
    """Answers as the real one would, counts calls, and fails when a test says so."""

    def __init__(self) -> None:
        self.calls: dict[str, list[Any]] = defaultdict(list)
        """Requests by method, attempts that failed included."""
        self.to_fail: dict[str, deque[status_pb2.Status]] = defaultdict(deque)
        self.to_fail_bare: dict[str, deque[tuple[grpc.StatusCode, str]]] = defaultdict(deque)
        self.hold_back = 1
        """StreamPredict gathers this many requests and answers them last first."""
        self.drop_last = False
        """StreamPredict ends without an answer to the last request."""
        self.break_streams_after: deque[int] = deque()
        """Numbers of replies after which the next streams lose their connection."""
        self.most_unanswered = 0
        self.gate = threading.Event()
        """Cleared, calls wait for it."""
        self.gate.set()
        self.models = {
            "efficientnet_lite0": _model(
                "efficientnet_lite0", "cnn", "image-classification", "image", ["pixel_values"]
            ),
            "silero_vad": _model("silero_vad", "rnn", "voice-activity-detection", "audio", ["samples"]),
            "all_minilm_l6_v2": _model(
                "all_minilm_l6_v2", "transformer", "feature-extraction", "text", ["input_ids", "attention_mask"]
            ),
        }
        self.set_up_tuning()
        self.health = health.HealthServicer()
        self.set_ready(True)
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)])
        prediction_pb2_grpc.add_PredictionServicer_to_server(self, self._server)
        models_pb2_grpc.add_ModelsServicer_to_server(self, self._server)
        fine_tuning_pb2_grpc.add_FineTuningServicer_to_server(self, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self.gate.set()
        self.watch_gate.set()
        self._server.stop(None).wait()

    def set_ready(self, ready: bool) -> None:
        serving = health_pb2.HealthCheckResponse
        self.health.set("", serving.SERVING if ready else serving.NOT_SERVING)

    def fail_next(self, method: str, code: str, message: str, times: int = 1, **details: Any) -> None:
        """The next calls of `method` end with that status and its details."""
        self.to_fail[method] += [status_of(code, message, **details)] * times

    def Predict(self, request: prediction_pb2.PredictRequest, context: Any) -> prediction_pb2.PredictResponse:
        self._enter("Predict", request, context)
        self._known(request.model, context)
        response = self._answer(request)
        if all(result.HasField("error") for result in response.predictions):
            _abort(context, response.predictions[0].error)
        return response

    def StreamPredict(self, requests: Any, context: Any) -> Iterator[prediction_pb2.StreamPredictResponse]:
        self._enter("StreamPredict", None, context)
        gathered: list[prediction_pb2.PredictRequest] = []
        unanswered, lock = 0, threading.Lock()
        breaks_after = self.break_streams_after.popleft() if self.break_streams_after else -1
        for count, message in enumerate(requests):
            if count == breaks_after:
                context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
            self.calls["StreamPredict.request"].append(message.request)
            gathered.append(message.request)
            with lock:
                unanswered += 1
                self.most_unanswered = max(self.most_unanswered, unanswered)
            if len(gathered) == self.hold_back:
                for request in reversed(gathered):
                    with lock:
                        unanswered -= 1
                    yield self._stream_answer(request)
                gathered = []
        for request in reversed(gathered[:-1] if self.drop_last else gathered):
            yield self._stream_answer(request)

    def ListModels(self, request: models_pb2.ListModelsRequest, context: Any) -> models_pb2.ListModelsResponse:
        self._enter("ListModels", request, context)
        names = [n for n in sorted(self.models) if request.family in ("", self.models[n].family)]
        start = int(request.page_token or 0)
        more = str(start + 2) if start + 2 < len(names) else ""
        page = [self.models[name] for name in names[start : start + 2]]
        return models_pb2.ListModelsResponse(models=page, next_page_token=more)

    def GetModel(self, request: models_pb2.GetModelRequest, context: Any) -> models_pb2.GetModelResponse:
        self._enter("GetModel", request, context)
        return models_pb2.GetModelResponse(model=self._known(request.name, context))

    def LoadModel(self, request: models_pb2.LoadModelRequest, context: Any) -> models_pb2.LoadModelResponse:
        self._enter("LoadModel", request, context)
        model = self._known(request.name, context)
        model.state, model.state_reason = models_pb2.MODEL_STATE_READY, ""
        return models_pb2.LoadModelResponse(model=model)

    def UnloadModel(self, request: models_pb2.UnloadModelRequest, context: Any) -> models_pb2.UnloadModelResponse:
        self._enter("UnloadModel", request, context)
        model = self._known(request.name, context)
        model.state, model.state_reason = models_pb2.MODEL_STATE_UNAVAILABLE, "it was unloaded"
        return models_pb2.UnloadModelResponse(model=model, held_bytes=20_000_000, freed_bytes=19_500_000)

    def UpdateModel(self, request: models_pb2.UpdateModelRequest, context: Any) -> models_pb2.UpdateModelResponse:
        self._enter("UpdateModel", request, context)
        model = self._known(request.model.name, context)
        for path in request.update_mask.paths:
            option = path.removeprefix("options.")
            if option not in model.options.DESCRIPTOR.fields_by_name:
                problem = f"{path}: no such option"
                _abort(context, status_of("INVALID_ARGUMENT", problem, reason="INVALID_INPUT", field=path))
            model.options.ClearField(option)  # type: ignore[arg-type]
        model.options.MergeFrom(request.model.options)
        later = [path for path in request.update_mask.paths if path == "options.precision"]
        return models_pb2.UpdateModelResponse(model=model, at_next_load=later)

    def _enter(self, method: str, request: Any, context: Any) -> None:
        self.calls[method].append(request)
        self.gate.wait()
        if self.to_fail[method]:
            _abort(context, self.to_fail[method].popleft())
        if self.to_fail_bare[method]:
            context.abort(*self.to_fail_bare[method].popleft())

    def _known(self, name: str, context: Any) -> models_pb2.Model:
        if name not in self.models:
            _abort(context, _unknown(name))
        return self.models[name]

    def _stream_answer(self, request: prediction_pb2.PredictRequest) -> prediction_pb2.StreamPredictResponse:
        if request.model not in self.models:
            return prediction_pb2.StreamPredictResponse(request_id=request.request_id, error=_unknown(request.model))
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
        names = [raw.decode(), "a dog", "a mug"][: options.top_k if options.HasField("top_k") else 2]
        for i, name in enumerate(names):
            result.classification.labels.add(index=i, name=name, score=0.9 - 0.4 * i)
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


def _model(name: str, family: str, task: str, raw_input: str, inputs: list[str]) -> models_pb2.Model:
    return models_pb2.Model(
        name=name,
        family=family,
        task=task,
        summary="Does its work.",
        state=models_pb2.MODEL_STATE_READY,
        versions=[1],
        aliases={"stable": 1},
        raw_input=raw_input,
        inputs=[models_pb2.TensorSignature(name=n, datatype="FP32", shape=[-1, 4]) for n in inputs],
        outputs=[models_pb2.TensorSignature(name="out", datatype="FP32", shape=[-1, 2])],
        origin=models_pb2.Origin(licence="Apache-2.0", provenance="Somebody made it."),
        parameter_count=4_652_008,
        labels=["cat", "dog"],
        runtime=models_pb2.Runtime(
            device="cpu", precision="fp32", memory_bytes=18_600_000, weights_bytes=18_500_000, growth_bytes=30_000_000
        ),
        max_batch_size=32,
        options=models_pb2.ModelOptions(max_batch_size=8, weight=1.5, pinned=False, precision="auto"),
    )


def add_structured(zoo: FakeZoo) -> None:
    """Further models: `flats` takes rows, `sales` series, `homes` records."""
    for name, raw_input, task in (
        ("flats", "row", "tabular-regression"),
        ("sales", "series", "time-series-forecasting"),
        ("homes", "record", "image-tabular-regression"),
    ):
        zoo.models[name] = _model(name, "mlp", task, raw_input, ["numbers"])


def add_columns(zoo: FakeZoo) -> None:
    """`flats` and `homes` say which columns they take."""
    for name in ("flats", "homes"):
        model = zoo.models[name]
        model.columns.add(name="area", kind="number")
        model.columns.add(name="rooms", kind="number")
        model.columns.add(name="town", kind="category", categories=["Bonn", "Köln"])
        model.target_column = "rent"
        model.ignored_columns.append("id")


def _unknown(name: str) -> status_pb2.Status:
    return status_of("NOT_FOUND", f"unknown model {name!r}; did you mean 'silero_vad'?", reason="NOT_FOUND")


def _abort(context: Any, status: status_pb2.Status) -> NoReturn:
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError
