"""What a caller may give, and the message each becomes. Pure: what has to be read or asked is yielded as an effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.client.errors import BadInput, IllegalMove
from service.client.models import ModelInfo
from service.client.plan import Plan, Read
from service.client.structured import Cell, flat_record, is_record, is_series, of_json, parse, row, series
from service.client.tensors import tensor_map
from service.pb import prediction_pb2 as pb
from service.types import Array, SamplesInstance

Row = Mapping[str, Cell]
Record = Mapping[str, Path | bytes | Row]
Input = Path | bytes | str | Array | Mapping[str, Array] | SamplesInstance | Row | Record | Sequence[float]
"""A path (its file, as the model's raw input), encoded bytes (the same), a `str` (a text, never a path), an array (the
model's only tensor, or a series `[steps]` or `[steps, channels]` for a model that takes one), arrays by name (one row of each
tensor, without the rows axis), decoded sound, cells by column (`{"area": 70, "town": "Bonn"}`), several that belong together
(`{"image": Path("house.jpg"), "row": {"area": 70}}`), or a list of numbers, the oldest first."""


def as_list(inputs: Input | Sequence[Input]) -> list[Input]:
    """One input or many as a list; a list or tuple means many, unless it is of numbers alone; anything else is one."""
    many = isinstance(inputs, (list, tuple)) and not is_series(inputs)
    return list(inputs) if many else [inputs]  # type: ignore[arg-type, list-item]


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
            known = yield from model
            if known.raw_input == "series":
                return series(value)
            return pb.Instance(tensors=tensor_map({_only_input(known): value}))
        case list() | tuple():
            return series(value)
        case Mapping() if is_record(value):
            if value.keys() <= {"image", "row"}:
                return (yield from _record(value))
            known = yield from model  # a path or bytes may be a cell, too
            return row(value) if known.raw_input == "row" else (yield from _record(flat_record(value)))
        case Mapping() if value and all(isinstance(part, np.ndarray) and part.ndim for part in value.values()):
            return _named(value)
        case Mapping():  # plain numbers may be a tensor's
            known = yield from model
            return row(value) if known.raw_input == "row" else _named(value)
        case _:
            kind = type(value).__name__
            raise BadInput(
                f"an input is of type {kind}; a Path, bytes, str, array, dict of arrays or cells, list of numbers or sound was "
                "expected"
            )


def _record(value: Mapping[Any, Any]) -> Plan[pb.Instance]:
    parts = {}
    for name, part in value.items():
        parts[str(name)] = yield from _part(str(name), part)
    return pb.Instance(record=pb.Record(parts=parts))


def _part(name: str, value: Any) -> Plan[pb.Instance]:
    match value:
        case Mapping():
            return row(value)
        case Path():
            return pb.Instance(image=(yield Read(value)))
        case bytes() | bytearray() | memoryview():
            return pb.Instance(image=bytes(value))
        case _:
            kind = type(value).__name__
            raise BadInput(f"part {name!r} is of type {kind}; an image (Path or bytes) or a row (dict) was expected")


def _named(tensors: Mapping[Any, Any]) -> pb.Instance:
    return pb.Instance(tensors=tensor_map({str(name): np.asarray(value) for name, value in tensors.items()}))


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
        case "row" | "series":
            return of_json(parse(data), model.raw_input)
        case "record":
            raise BadInput(f"model {model.name!r} takes an image and a row together: {{'image': …, 'row': {{…}}}}")
        case _ if model.damaged:
            raise IllegalMove(f"model {model.name!r} does not answer: {model.damaged}", code="FAILED_PRECONDITION")
        case _:
            raise BadInput(f"model {model.name!r} takes tensors only, and a file or bytes came")


def _only_input(model: ModelInfo) -> str:
    if len(model.inputs) != 1:
        names = ", ".join(repr(tensor.name) for tensor in model.inputs)
        raise BadInput(f"model {model.name!r} takes the tensors {names}, so give arrays by name, not a bare array")
    return model.inputs[0].name
