"""The quick way through ModelInfer's messages, for what nearly all of them are: raw tensors as the model's signature says.

Whatever is unusual about a request, wrong ones included, is left to `convert.py`, which says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from service.engine.served_head import Served
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.tasks.base import Task
from service.types import DTYPES, Array, Item, TensorInstance, Tensors
from service.wire.open_inference.convert import MAX_ROWS, checked_parameters
from service.wire.open_inference.raw_contents import Raws
from service.wire.open_inference.replies import FINAL_RESPONSE, stack
from service.wire.open_inference.tensors import encode

Wanted = Sequence[tuple[str, str]]
"""Names and datatypes of outputs."""

MOST_SHAPES = 256
"""Shapes of an input that are remembered."""


class Quick(NamedTuple):
    """A request in the corridor's terms."""

    served: Served
    items: list[Item]
    deadline: float | None
    priority: int
    wanted: Wanted


class Known(NamedTuple):
    """An input as some request announced it, found to be right."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    bytes: int


class QuickModel:
    """What can be known of a model's messages beforehand."""

    def __init__(self, served: Served) -> None:
        card = served.card
        self._specs = {spec.name: spec for spec in card.signature.inputs}
        self._names = [*self._specs]
        # Elements of these need no look at each; those of BOOL, BYTES and BF16 do.
        self._all = all(spec.datatype in DTYPES and spec.datatype != "BOOL" for spec in card.signature.inputs)
        self._outputs = [(spec.name, spec.datatype) for spec in card.signature.outputs]
        self._known: dict[tuple[Any, ...], Known] = {}
        self._length_of = card.batching.length_of
        # A task that looks into its tensors (an id beyond the vocabulary would read past the table) does so here, too.
        self._row = None if type(served.task).row is Task.row else served.task.row
        self._max_length = card.batching.max_length or math.inf

    def read(self, request: pb.ModelInferRequest, served: Served, raws: Raws, deadline: float | None) -> Quick | None:
        """None where the request is not of that kind."""
        inputs = request.inputs
        if not self._all or len(inputs) != len(self._names) or len(raws) != len(self._names):
            return None
        arrays: dict[str, Array] = {}
        rows = 0
        for tensor, raw in zip(inputs, raws, strict=True):
            about: tuple[Any, ...] = (tensor.name, tensor.datatype, *tensor.shape)
            known = self._known.get(about) or self._check(about)
            if known is None or known.bytes != len(raw) or tensor.parameters or tensor.HasField("contents"):
                return None
            rows = rows or known.shape[0]
            if rows != known.shape[0]:
                return None
            arrays[known.name] = np.frombuffer(raw, known.dtype).reshape(known.shape)
        if len(arrays) != len(self._names):
            return None
        wanted = self._wanted(request) if request.outputs else self._outputs
        if wanted is None:
            return None
        length = arrays[self._length_of].shape[1] if self._length_of is not None else 1
        priority = 0
        if request.parameters:
            try:
                deadline, priority = checked_parameters(request.parameters, deadline)
            except InvalidInput:
                return None
        tensors = [{name: array[i, ...] for name, array in arrays.items()} for i in range(rows)]
        if self._row is None:
            items = [Item(row, length) for row in tensors]
        else:
            try:
                items = [self._row(TensorInstance(row), "") for row in tensors]
            except InvalidInput:
                return None
        return Quick(served, items, deadline, priority, wanted)

    def _check(self, about: tuple[Any, ...]) -> Known | None:
        """What to make of an input of this name, datatype and shape; None where it is not as the signature says."""
        name, datatype, *sizes = about
        spec = self._specs.get(name)
        shape = tuple(sizes)
        if spec is None or spec.datatype != datatype or len(shape) != len(spec.shape):
            return None
        if not 0 < shape[0] <= MAX_ROWS or any(
            s != w and not w < 0 < s for s, w in zip(shape, spec.shape, strict=True)
        ):
            return None
        if spec.name == self._length_of and shape[1] > self._max_length:
            return None
        dtype = DTYPES[spec.datatype]
        known = Known(spec.name, dtype, shape, math.prod(shape) * dtype.itemsize)
        if len(self._known) < MOST_SHAPES:
            self._known[about] = known
        return known

    def _wanted(self, request: pb.ModelInferRequest) -> Wanted | None:
        outputs = request.outputs
        known = dict(self._outputs)
        if any(output.parameters or output.name not in known for output in outputs):
            return None
        return [(output.name, known[output.name]) for output in outputs]


def quick_response(request_id: str, served: Served, wanted: Wanted, rows: Sequence[Tensors]) -> pb.ModelInferResponse:
    """Rows of outputs as a message."""
    response = pb.ModelInferResponse(model_name=served.name, model_version=str(served.version), id=request_id)
    _add(response, served, wanted, rows)
    return response


def quick_reply(
    request_id: str, served: Served, wanted: Wanted, rows: Sequence[Tensors]
) -> pb.ModelStreamInferResponse:
    """The same on a stream."""
    reply = pb.ModelStreamInferResponse()
    response = reply.infer_response
    response.model_name, response.model_version, response.id = served.name, str(served.version), request_id
    response.parameters[FINAL_RESPONSE].bool_param = True
    _add(response, served, wanted, rows)
    return reply


def _add(response: pb.ModelInferResponse, served: Served, wanted: Wanted, rows: Sequence[Tensors]) -> None:
    rows = [served.task.shown(row) for row in rows]
    for name, datatype in wanted:
        if len(rows) == 1:
            array = rows[0][name]
            shape: tuple[int, ...] = (1, *array.shape)
        else:
            array = stack([row[name] for row in rows])
            shape = array.shape
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(encode(array, datatype))
