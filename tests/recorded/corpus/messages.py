"""Requests in few words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from service.pb import fine_tuning_pb2, open_inference_pb2, prediction_pb2

CNN, RNN, TRANSFORMER = "efficientnet_lite0", "silero_vad", "all_minilm_l6_v2"
ALL = (
    TRANSFORMER,
    "char_lstm",
    CNN,
    "mobilenetv2_100",
    "series_gru",
    RNN,
    "speaker_lstm",
    "tabular_mlp",
)
DATATYPES = {"float32": "FP32", "int64": "INT64", "float64": "FP64", "int32": "INT32", "bool": "BOOL", "uint8": "UINT8"}

PREDICT = "zoo.v1.Prediction/Predict"
STREAM_PREDICT = "zoo.v1.Prediction/StreamPredict"
MODELS = "zoo.v1.Models"
TUNING = "zoo.v1.FineTuning"
OPEN = "inference.GRPCInferenceService"
INFER = f"{OPEN}/ModelInfer"
STREAM_INFER = f"{OPEN}/ModelStreamInfer"


def ask(
    model: str, *instances: Mapping[str, Any], version: str = "", request_id: str = "recorded", **options: Any
) -> prediction_pb2.PredictRequest:
    """A request to predict; each instance is given as the fields of its message."""
    return prediction_pb2.PredictRequest(
        model=model,
        version=version,
        request_id=request_id,
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


def tensor(name: str, datatype: str, shape: Sequence[int], data: bytes) -> dict[str, Any]:
    """An instance of one tensor, right or wrong."""
    return {
        "tensors": prediction_pb2.TensorMap(
            tensors={name: prediction_pb2.Tensor(datatype=datatype, shape=shape, data=data)}
        )
    }


def samples(values: np.ndarray, rate: int = 16_000) -> dict[str, Any]:
    """An instance of decoded sound."""
    return {"samples": prediction_pb2.AudioSamples(sample_rate_hertz=rate, values=values.tolist())}


def row(**cells: Any) -> dict[str, Any]:
    """An instance of a row."""
    instance = prediction_pb2.Instance()
    instance.row.update(cells)
    return {"row": instance.row}


def series(*values: float, channels: int = 0) -> dict[str, Any]:
    """An instance of numbers in time."""
    return {"series": prediction_pb2.Series(values=values, channels=channels)}


def record(**parts: Mapping[str, Any]) -> dict[str, Any]:
    """An instance of several inputs."""
    made = {name: prediction_pb2.Instance(**part) for name, part in parts.items()}
    return {"record": prediction_pb2.Record(parts=made)}


def infer(
    model: str,
    version: str = "",
    request_id: str = "recorded",
    parameters: Mapping[str, Any] | None = None,
    outputs: Sequence[str] = (),
    **arrays: Any,
) -> open_inference_pb2.ModelInferRequest:
    """An Open Inference request with raw contents; a list of bytes becomes BYTES `[n, 1]`."""
    request = open_inference_pb2.ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for key, value in (parameters or {}).items():
        set_parameter(request.parameters[key], value)
    for name in outputs:
        request.outputs.add(name=name)
    for name, value in arrays.items():
        if isinstance(value, np.ndarray):
            request.inputs.add(name=name, datatype=DATATYPES[value.dtype.name], shape=value.shape)
            request.raw_input_contents.append(value.tobytes())
        else:
            request.inputs.add(name=name, datatype="BYTES", shape=[len(value), 1])
            request.raw_input_contents.append(b"".join(len(v).to_bytes(4, "little") + v for v in value))
    return request


def set_parameter(parameter: Any, value: Any) -> None:
    """Sets the field that fits a value."""
    kind = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}[type(value)]
    setattr(parameter, kind, value)


def upload(
    data: bytes, file_name: str, *, chunk: int = 65_536, upto: int | None = None, **header: Any
) -> Iterator[fine_tuning_pb2.UploadDatasetRequest]:
    """The messages of an upload; `upto` breaks it off after that many bytes."""
    made = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "file_name": file_name} | header
    yield fine_tuning_pb2.UploadDatasetRequest(header=fine_tuning_pb2.UploadHeader(**made))
    end = len(data) if upto is None else upto
    for start in range(made.get("offset", 0), end, chunk):
        yield fine_tuning_pb2.UploadDatasetRequest(chunk=data[start : min(start + chunk, end)])


def job_spec(base: str, dataset: str, model: str, **more: Any) -> fine_tuning_pb2.JobSpec:
    """What a job is to do; what is no field of the message is a hyperparameter."""
    fields = {key: more.pop(key) for key in list(more) if key in fine_tuning_pb2.JobSpec.DESCRIPTOR.fields_by_name}
    spec = fine_tuning_pb2.JobSpec(base=base, dataset_id=dataset, model=model, **fields)
    if more:
        spec.hyperparameters.update(more)
    return spec
