"""Reads a ModelInferRequest of any kind into the pipeline's types. Every mistake of a caller is named by its path.

A request brings either the network's own tensors or the model's raw input (`image`, `text` or `audio`, or, as JSON, `row`,
`series` or `record`: BYTES `[n]` or `[n, 1]`); each of its rows becomes one instance. Image models take `pixels` in place of
their normalised image. Names, types and shapes are checked against the model's signature before any element is read. Requests of
raw fixed-size tensors mostly do not come here: see `model_codec.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from model_zoo.cards.card import Card
from model_zoo.cards.signature import TensorSpec
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.protobuf_values import sorted_items
from service.tasks.image.pixels import PIXELS, pixels_input
from service.types import Array, InferRequest, Instance, Options, TensorInstance
from service.wire.open_inference.option_parameters import options_of
from service.wire.open_inference.raw_contents import Raws
from service.wire.open_inference.raw_inputs import (
    LABEL_TEXTS,
    TEXT_PAIR,
    InputTensor,
    check_raw_inputs,
    is_raw,
    raw_instances,
    shown_shape,
    takes_label_texts,
    takes_pairs,
)
from service.wire.open_inference.regions import Regions
from service.wire.open_inference.shared_tensors import SharedSpan, input_spans, shared_span
from service.wire.open_inference.tensors import decode_inputs

Parameters = Mapping[str, pb.InferParameter]

MAX_ROWS = 4096
"""Rows of one request. Every row becomes an object, and one small message could hold millions of tiny rows."""


class WantedOutput(NamedTuple):
    """One output the caller asked for, as a tensor or as its `classes` best (the classification extension)."""

    name: str
    datatype: str
    """Of the tensor that the network gives."""
    classes: int | None = None
    span: SharedSpan | None = None
    """The shared memory that it is written to; None for the reply."""


# ── request ───────────────────────────────────────────────────────────────────────────────────────────────────


def infer_request(
    request: pb.ModelInferRequest,
    card: Card,
    deadline: float | None,
    raws: Raws | None = None,
    regions: Regions | None = None,
) -> InferRequest:
    """Checks a request against the model and splits it into rows. `deadline`: of the call, where it has one.

    `raws`: the raw contents, where they were taken out of the message before (`raw_contents.py`). `regions`: of shared memory;
    None where the extension is off. Blocks while shared memory is copied.
    """
    priority = 0
    if request.parameters:
        deadline, priority = checked_parameters(request.parameters, deadline)
    instances = _rows(request, card, raws, input_spans(request, regions))
    return InferRequest(
        model=request.model_name,
        version=request.model_version,
        request_id=request.id,
        instances=instances,
        options=options_of(request, card) if is_raw(request.inputs, card) else Options(),
        deadline=deadline,
        priority=priority,
        paths=[f"inputs[0][{i}]" for i in range(len(instances))],
    )


def wanted_outputs(request: pb.ModelInferRequest, card: Card, regions: Regions | None = None) -> list[WantedOutput]:
    """The outputs to return, in order: those that the caller names, or all of the model's. `regions`: see `infer_request`."""
    specs = card.signature.outputs
    if not request.outputs:
        return [WantedOutput(spec.name, spec.datatype) for spec in specs]
    wanted = []
    for i, output in enumerate(request.outputs):
        spec = next((spec for spec in specs if spec.name == output.name), None)
        if spec is None:
            known = ", ".join(repr(spec.name) for spec in specs)
            raise InvalidInput(f"outputs[{i}].name", f"model {card.name!r} gives {known}, got {output.name!r}")
        classes = span = None
        if output.parameters:
            span = shared_span(output.parameters, f"outputs[{i}]", regions)
            classes = _classes(output.parameters, f"outputs[{i}]")
        wanted.append(WantedOutput(spec.name, spec.datatype, classes, span))
    return wanted


def _rows(
    request: pb.ModelInferRequest, card: Card, raws: Raws | None, spans: Mapping[int, SharedSpan]
) -> list[Instance]:
    inputs = request.inputs
    if not inputs:
        raise InvalidInput("inputs", f"expected {_accepted(card)}, got none")
    raw = is_raw(inputs, card)
    if raw:
        check_raw_inputs(inputs, card)
    else:
        _check_tensors(inputs, card)
    rows = inputs[0].shape[0]
    if rows == 0:
        raise InvalidInput("inputs[0].shape", f"expected at least one row, got {shown_shape(inputs[0].shape)}")
    if rows > MAX_ROWS:
        raise InvalidInput("inputs[0].shape", f"expected at most {MAX_ROWS} rows in one request, got {rows}")
    arrays = decode_inputs(request, raws, spans)
    if raw:
        return raw_instances(inputs, arrays, card)
    named = [(tensor.name, array) for tensor, array in zip(inputs, arrays, strict=True)]
    return [TensorInstance({name: _row(array, i) for name, array in named}) for i in range(rows)]


def _row(array: Array, index: int) -> Array:
    return array[index, ...]  # the ellipsis keeps a row of no axes an array, and a view


def _check_tensors(inputs: Sequence[InputTensor], card: Card) -> None:
    specs = _specs_taken(inputs, card)
    seen: set[str] = set()
    rows = None
    for i, tensor in enumerate(inputs):
        spec = next((spec for spec in specs if spec.name == tensor.name), None)
        if spec is None:
            if any(tensor.name == known.name for known in card.signature.inputs):
                raise InvalidInput(f"inputs[{i}].name", f"expected {tensor.name!r} or {PIXELS!r}, got both")
            if tensor.name == card.raw_input != "" and len(inputs) == 1:
                if takes_label_texts(card) and tensor.datatype == "BYTES":
                    raise InvalidInput("inputs", f"expected {LABEL_TEXTS!r} BYTES [-1, texts] beside {tensor.name!r}")
                raise InvalidInput(f"inputs[{i}].datatype", f"{tensor.name!r} takes BYTES, got {tensor.datatype}")
            raise InvalidInput(f"inputs[{i}].name", f"expected {_accepted(card)}, got {tensor.name!r}")
        if tensor.name in seen:
            raise InvalidInput(f"inputs[{i}].name", f"expected each input once, got {tensor.name!r} again")
        seen.add(tensor.name)
        if tensor.datatype != spec.datatype:
            taker = "model" if spec in card.signature.inputs else repr(spec.name)
            raise InvalidInput(f"inputs[{i}].datatype", f"{taker} takes {spec.datatype}, got {tensor.datatype}")
        _check_shape(tensor.shape, spec, f"inputs[{i}].shape")
        if rows is None:
            rows = tensor.shape[0]
        elif tensor.shape[0] != rows:
            raise InvalidInput(f"inputs[{i}].shape", f"expected {rows} rows as in inputs[0], got {tensor.shape[0]}")
    if len(seen) < len(specs):
        for spec in specs:
            if spec.name not in seen:
                raise InvalidInput("inputs", f"expected {_accepted(card)}, got no {spec.name!r}")


def _specs_taken(inputs: Sequence[InputTensor], card: Card) -> Sequence[TensorSpec]:
    """The tensors that a request must bring: those of the signature, or those with `pixels` in place of the image."""
    specs = card.signature.inputs
    if all(tensor.name != PIXELS for tensor in inputs) or (pixels := pixels_input(card)) is None:
        return specs
    return [pixels.spec if spec.name == pixels.replaces else spec for spec in specs]


def _check_shape(shape: Sequence[int], spec: TensorSpec, field: str) -> None:
    expected = spec.shape
    if len(shape) != len(expected):
        raise InvalidInput(field, f"model takes {list(expected)}, got {shown_shape(shape)}")
    for axis, (size, wanted) in enumerate(zip(shape, expected, strict=True)):
        # Where the signature says -1, any size but 0 is right; the caller checks the rows.
        if size < 0 or (axis and size == 0 and wanted == -1) or (wanted not in (-1, size)):
            raise InvalidInput(field, f"model takes {list(expected)}, got {shown_shape(shape)}")


def _accepted(card: Card) -> str:
    """The inputs that a model takes, for error texts."""
    tensors = [f"{spec.name!r} {spec.datatype} {list(spec.shape)}" for spec in card.signature.inputs]
    if (pixels := pixels_input(card)) is not None:
        tensors[0] += f" (or {pixels.spec.name!r} {pixels.spec.datatype} {list(pixels.spec.shape)} in its place)"
    listed = " and ".join(tensors)
    if takes_label_texts(card):
        return f"{listed}, or {card.raw_input!r} BYTES [-1, 1] with {LABEL_TEXTS!r} BYTES [-1, texts]"
    beside = f" or with {TEXT_PAIR!r} BYTES [-1, 1]" if takes_pairs(card) else ""
    return f"{listed}, or {card.raw_input!r} BYTES [-1, 1] alone{beside}" if card.raw_input else listed


# ── parameters ────────────────────────────────────────────────────────────────────────────────────────────────


def checked_parameters(parameters: Parameters, deadline: float | None) -> tuple[float | None, int]:
    """The earlier of the call's deadline and the parameter `timeout`; and `priority`, as Triton counts it: 1 goes first, 0 is
    the default. Raises InvalidInput for a parameter that is wrong or that would change the meaning of the call."""
    priority = 0
    for key, value in sorted_items(parameters):
        field = f"parameters[{key}]"
        if key == "timeout":
            microseconds = _integer(value, field)
            if microseconds < 0:
                raise InvalidInput(field, f"expected microseconds, 0 for none, got {microseconds}")
            if microseconds:
                deadline = min(deadline or float("inf"), time.monotonic() + microseconds / 1e6)
        elif key == "priority":
            priority = _integer(value, field)
            if priority < 0:
                raise InvalidInput(field, f"expected 1 (first) or more, or 0 for the default, got {priority}")
        elif key == "sequence_id":
            if value.int64_param or value.uint64_param or value.string_param:
                raise InvalidInput(field, "sequences are not supported by this model")
        elif key.startswith("triton_") and key != "triton_enable_empty_final_response":
            raise InvalidInput(field, "names that begin with triton_ are reserved, and this one is not known")
    return deadline, priority


def _integer(value: pb.InferParameter, field: str) -> int:
    kind = value.WhichOneof("parameter_choice")
    if kind == "int64_param":
        return value.int64_param
    if kind == "uint64_param":
        return value.uint64_param
    raise InvalidInput(field, f"expected int64_param, got {kind or 'nothing'}")


def _classes(parameters: Parameters, field: str) -> int | None:
    if "classification" not in parameters:
        return None
    field = f"{field}.parameters[classification]"
    classes = _integer(parameters["classification"], field)
    if classes < 1:
        raise InvalidInput(field, f"expected 1 class or more, got {classes}")
    return classes
