"""Raw requests, replies, errors and metrics, for tests that check more than the client shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from prometheus_client.parser import text_string_to_metric_families

from service.pb import (
    fine_tuning_pb2_grpc,
    models_pb2_grpc,
    open_inference_pb2,
    open_inference_pb2_grpc,
    prediction_pb2,
    prediction_pb2_grpc,
)
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess

CNN, RNN, TRANSFORMER = "efficientnet_lite0", "silero_vad", "all_minilm_l6_v2"

DATATYPES = {"float32": "FP32", "int64": "INT64", "float64": "FP64", "int32": "INT32", "uint8": "UINT8"}


@dataclass(frozen=True)
class Stubs:
    """Every service of one server over one channel."""

    channel: grpc.Channel
    prediction: prediction_pb2_grpc.PredictionStub
    models: models_pb2_grpc.ModelsStub
    inference: open_inference_pb2_grpc.GRPCInferenceServiceStub
    health: health_pb2_grpc.HealthStub
    fine_tuning: fine_tuning_pb2_grpc.FineTuningStub

    def __enter__(self) -> Stubs:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def predict(self, request: prediction_pb2.PredictRequest, timeout: float = TIMEOUT_S) -> Any:
        return self.prediction.Predict(request, timeout=timeout)

    def infer(self, request: open_inference_pb2.ModelInferRequest, timeout: float = TIMEOUT_S) -> Any:
        return self.inference.ModelInfer(request, timeout=timeout)

    def serving(self, name: str = "") -> bool:
        reply = self.health.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S)
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


# ── requests ──────────────────────────────────────────────────────────────────────────────────────────────────────


def ask(model: str, *instances: Mapping[str, Any], **options: Any) -> prediction_pb2.PredictRequest:
    """A `zoo.v1` request; each instance is given as the fields of its message."""
    return prediction_pb2.PredictRequest(
        model=model,
        instances=[prediction_pb2.Instance(**instance) for instance in instances],
        options=prediction_pb2.PredictOptions(**options),
    )


def tensors(**arrays: np.ndarray) -> dict[str, Any]:
    """An instance of tensors, one row each."""
    made = {
        name: prediction_pb2.Tensor(datatype=DATATYPES[a.dtype.name], shape=a.shape, data=a.tobytes())
        for name, a in arrays.items()
    }
    return {"tensors": prediction_pb2.TensorMap(tensors=made)}


def samples(values: np.ndarray, rate: int = 16_000) -> dict[str, Any]:
    """An instance of decoded sound."""
    return {"samples": prediction_pb2.AudioSamples(sample_rate_hertz=rate, values=values.tolist())}


def infer(model: str, timeout_us: int = 0, **arrays: np.ndarray | Sequence[bytes]) -> Any:
    """An Open Inference request, raw; a list of bytes becomes BYTES `[n, 1]`."""
    request = open_inference_pb2.ModelInferRequest(model_name=model)
    if timeout_us:
        request.parameters["timeout"].int64_param = timeout_us
    for name, value in arrays.items():
        if isinstance(value, np.ndarray):
            request.inputs.add(name=name, datatype=DATATYPES[value.dtype.name], shape=value.shape)
            request.raw_input_contents.append(value.tobytes())
        else:
            request.inputs.add(name=name, datatype="BYTES", shape=[len(value), 1])
            request.raw_input_contents.append(b"".join(len(v).to_bytes(4, "little") + v for v in value))
    return request


def outputs(reply: open_inference_pb2.ModelInferResponse) -> dict[str, np.ndarray]:
    """The output tensors of a reply."""
    kinds = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8}
    return {
        output.name: np.frombuffer(raw, kinds[output.datatype]).reshape(tuple(output.shape))
        for output, raw in zip(reply.outputs, reply.raw_output_contents, strict=True)
    }


def read_tensors(message: prediction_pb2.TensorMap) -> dict[str, np.ndarray]:
    """The arrays of a tensor map."""
    kinds = {"FP32": np.float32, "INT64": np.int64, "UINT8": np.uint8}
    return {
        name: np.frombuffer(tensor.data, kinds[tensor.datatype]).reshape(tuple(tensor.shape))
        for name, tensor in message.tensors.items()
    }


# ── errors ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class CallError:
    """The error of a call as a program reads it."""

    code: str
    message: str
    reason: str = ""
    field: str = ""
    resource: str = ""
    retry_s: float | None = None


_LEAKS = re.compile(r"/|\\|Traceback|site-packages|\.py\b|0x[0-9a-f]{6}|Error\b|Exception|\bobject at\b|<class|None\b")


def assert_leaks_nothing(text: str, *own: str) -> None:
    """Checks that an error text has no path, traceback or text of a foreign exception. `own`: words of the request itself."""
    for word in own:
        text = text.replace(word, "…")
    found = _LEAKS.search(text)
    assert found is None, f"{text!r} leaks {found.group()!r}"


def expect_error(call: Callable[[], object], *own: str) -> CallError:
    """The status of a call that must fail, looked through for leaks; `own` as in `assert_leaks_nothing`."""
    try:
        answer = call()
    except grpc.RpcError as error:
        found = read_error(error, *own)
    else:
        raise AssertionError(f"expected an error, got {answer}")
    assert_leaks_nothing(found.message, *own)
    return found


def read_error(error: Any, *own: str) -> CallError:
    """Code, text and google.rpc details of an error."""
    status = rpc_status.from_call(error)
    if status is None:
        return CallError(error.code().name, error.details() or "")
    assert status.message == error.details()
    return read_status(status, *own)


def read_status(status: Any, *own: str) -> CallError:
    """The error that a google.rpc.Status describes."""
    found: dict[str, Any] = {}
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    resource, retry = error_details_pb2.ResourceInfo(), error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            found["reason"] = info.reason
            assert info.domain == "zoo"
        elif detail.Unpack(bad):
            found["field"] = bad.field_violations[0].field
            assert_leaks_nothing(bad.field_violations[0].description, *own)
        elif detail.Unpack(resource):
            found["resource"] = f"{resource.resource_type} {resource.resource_name}"
        elif detail.Unpack(retry):
            found["retry_s"] = retry.retry_delay.ToNanoseconds() / 1e9
    code = next(c.name for c in grpc.StatusCode if c.value[0] == status.code)
    return CallError(code, status.message, **found)


# ── metrics ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Scrape:
    """One reading of /metrics."""

    def __init__(self, server: ServerProcess) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(server.get("/metrics"))}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Sum over all series of that name with at least these labels; 0 if there is none."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())

    def buckets(self, name: str, **labels: str) -> dict[float, float]:
        """A histogram's cumulative counts by upper bound."""
        found: dict[float, float] = {}
        for s in self._samples:
            if s.name == f"{name}_bucket" and labels.items() <= s.labels.items():
                bound = float(s.labels["le"])
                found[bound] = found.get(bound, 0.0) + s.value
        return found

    def labels(self, name: str) -> set[str]:
        """Names of the labels of a metric's series."""
        return {key for s in self._samples if s.name == name for key in s.labels}


def stubs_of(server: ServerProcess) -> Stubs:
    """Raw stubs over a channel of their own; leaving the context closes it."""
    no_limits = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    channel = grpc.insecure_channel(server.target, [*no_limits, ("grpc.use_local_subchannel_pool", 1)])
    return Stubs(
        channel,
        prediction_pb2_grpc.PredictionStub(channel),
        models_pb2_grpc.ModelsStub(channel),
        open_inference_pb2_grpc.GRPCInferenceServiceStub(channel),
        health_pb2_grpc.HealthStub(channel),
        fine_tuning_pb2_grpc.FineTuningStub(channel),
    )
