"""What a caller may give, and the message each becomes. Pure: what has to be read or asked is yielded as an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.client.errors import BadInput
from service.client.models import ModelInfo
from service.client.plan import Plan, Read
from service.client.tensors import tensor_map
from service.pb import prediction_pb2 as pb
from service.types import Array, SamplesInstance

Input = Path | bytes | str | Array | Mapping[str, Array] | SamplesInstance
"""A path (its file, as the model's raw input), encoded bytes (the same), a `str` (a text, never a path), an array (the
model's only tensor), arrays by name (one row of each tensor, without the rows axis), or decoded sound."""


def as_list(inputs: Input | Sequence[Input]) -> list[Input]:
    """One input or many as a list; a list or tuple means many, anything else is one."""
    return list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]  # type: ignore[list-item]


def instance(value: Any, model: Plan[ModelInfo]) -> Plan[pb.Instance]:
    """The message for `value`, an Input. `model` is performed only where the meaning of `value` depends on the model."""
    match value:
        case str():
            return _text(value)
        case SamplesInstance(samples, rate):
            samples32 = np.asarray(samples, np.float32)
            return pb.Instance(samples=pb.AudioSamples(sample_rate_hertz=rate, values=samples32))
        case Path():
            return _encoded((yield Read(value)), (yield from model))
        case bytes() | bytearray() | memoryview():
            return _encoded(bytes(value), (yield from model))
        case np.ndarray():
            return pb.Instance(tensors=tensor_map({_only_input((yield from model)): value}))
        case Mapping():
            return pb.Instance(tensors=tensor_map({str(name): np.asarray(v) for name, v in value.items()}))
        case _:
            kind = type(value).__name__
            raise BadInput(
                f"an input is of type {kind}; a Path, bytes, str, array, dict of arrays or sound was expected"
            )


def _text(text: str) -> pb.Instance:
    try:
        return pb.Instance(text=text)
    except UnicodeEncodeError:
        raise BadInput("the text holds lone surrogates, so it is not valid Unicode") from None


def _encoded(data: bytes, model: ModelInfo) -> pb.Instance:
    match model.raw_input:
        case "image":
            return pb.Instance(image=data)
        case "audio":
            return pb.Instance(audio=data)
        case "text":
            try:
                return pb.Instance(text=data.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise BadInput(f"the text is not valid UTF-8 at byte {error.start}") from None
        case _:
            raise BadInput(f"model {model.name!r} takes tensors only, and a file or bytes came")


def _only_input(model: ModelInfo) -> str:
    if len(model.inputs) != 1:
        names = ", ".join(repr(tensor.name) for tensor in model.inputs)
        raise BadInput(f"model {model.name!r} takes the tensors {names}, so give arrays by name, not a bare array")
    return model.inputs[0].name
