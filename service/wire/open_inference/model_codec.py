"""Reads and writes the tensor messages of one model.

`read` takes the requests that nearly all calls bring: raw tensors of fixed-size elements, as the model's signature says, for
outputs by name. It leaves every other request, and every wrong one, to `requests.py`, which says what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from service.engine.loaded_model import LoadedModel
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.tasks.base import Task
from service.types import DTYPES, Array, InferRequest, Item, TensorInstance, Tensors
from service.wire.open_inference.raw_contents import Raws
from service.wire.open_inference.regions import Regions
from service.wire.open_inference.replies import FINAL_RESPONSE, add_outputs, write_head
from service.wire.open_inference.requests import MAX_ROWS, Parameters, WantedOutput, checked_parameters
from service.wire.open_inference.shared_tensors import SharedSpan, cheap_sources, is_cheap, shared_span

MOST_SHAPES = 256
"""Shapes of inputs that are remembered."""


class TensorCall(NamedTuple):
    """A request whose rows can be submitted as they are."""

    model: LoadedModel
    items: list[Item]
    deadline: float | None
    priority: int
    wanted: Sequence[WantedOutput]
    request_id: str

    def response(self, rows: Sequence[Tensors]) -> pb.ModelInferResponse:
        """The reply, given the outputs of the rows."""
        response = pb.ModelInferResponse()
        self._write(response, rows)
        return response

    def stream_response(self, rows: Sequence[Tensors]) -> pb.ModelStreamInferResponse:
        """The same on a stream; written in place, since protobuf would copy a whole message."""
        reply = pb.ModelStreamInferResponse()
        self._write(reply.infer_response, rows)
        reply.infer_response.parameters[FINAL_RESPONSE].bool_param = True
        return reply

    def _write(self, response: pb.ModelInferResponse, rows: Sequence[Tensors]) -> None:
        model = self.model
        write_head(response, model.name, model.version, self.request_id)
        add_outputs(response, self.wanted, [model.task.shown(row) for row in rows], model.task.labels)


class KnownInput(NamedTuple):
    """An input as some request announced it, found to be right."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    bytes: int


class ModelCodec:
    """The parts of a model's messages that its signature decides, computed once."""

    def __init__(self, model: LoadedModel, regions: Regions | None = None) -> None:
        """`regions`: of shared memory; None where the extension is off."""
        card = model.card
        self._regions = regions
        self._specs = {spec.name: spec for spec in card.signature.inputs}
        self._count = len(self._specs)
        # Inputs that replace each other; no request has both. A name that no input has stands for a model without `pixels`.
        self._image = self._pixels = ""
        if (pixels := model.task.pixels) is not None:
            self._specs[pixels.spec.name] = pixels.spec
            self._image, self._pixels = pixels.replaces, pixels.spec.name
        # Elements of these datatypes need no check each; those of BOOL, BYTES and BF16 do.
        self._fixed_size = all(spec.datatype in DTYPES and spec.datatype != "BOOL" for spec in card.signature.inputs)
        self._outputs = {spec.name: WantedOutput(spec.name, spec.datatype) for spec in card.signature.outputs}
        self._all_outputs = [*self._outputs.values()]
        self._known: dict[tuple[Any, ...], KnownInput] = {}
        self._length_of = card.batching.length_of
        # A task that checks the values of its tensors (an id beyond the vocabulary would read past the table) does so here too.
        self._row = None if type(model.task).row is Task.row else model.task.row
        self._max_length = card.batching.max_length or math.inf

    def read(
        self, request: pb.ModelInferRequest, model: LoadedModel, raws: Raws, deadline: float | None
    ) -> TensorCall | None:
        """None where the request is of another kind, or wrong."""
        inputs = request.inputs
        if not self._fixed_size or len(inputs) != self._count:
            return None
        sources = raws if len(raws) == self._count else cheap_sources(request, raws, self._regions)
        if sources is None:
            return None
        arrays: dict[str, Array] = {}
        rows = 0
        for tensor, source in zip(inputs, sources, strict=True):
            announced: tuple[Any, ...] = (tensor.name, tensor.datatype, *tensor.shape)
            known = self._known.get(announced) or self._check(announced)
            if known is None or tensor.HasField("contents"):
                return None
            raw: bytes | memoryview
            if isinstance(source, SharedSpan):
                if known.bytes != source.size:
                    return None
                try:
                    raw = source.read()
                except InvalidInput:
                    return None
            elif known.bytes != len(source) or tensor.parameters:
                return None
            else:
                raw = source
            rows = rows or known.shape[0]
            if rows != known.shape[0]:
                return None
            arrays[known.name] = np.frombuffer(raw, known.dtype).reshape(known.shape)
        if len(arrays) != self._count or (self._pixels in arrays and self._image in arrays):
            return None
        wanted = self._wanted(request) if request.outputs else self._all_outputs
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
        return TensorCall(model, items, deadline, priority, wanted, request.id)

    def _check(self, announced: tuple[Any, ...]) -> KnownInput | None:
        """An input of this name, datatype and shape; None where it is not as the signature says."""
        name, datatype, *sizes = announced
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
        known = KnownInput(spec.name, dtype, shape, math.prod(shape) * dtype.itemsize)
        if len(self._known) < MOST_SHAPES:
            self._known[announced] = known
        return known

    def _wanted(self, request: pb.ModelInferRequest) -> Sequence[WantedOutput] | None:
        wanted = []
        for i, output in enumerate(request.outputs):
            known = self._outputs.get(output.name)
            if known is None:
                return None
            if output.parameters:
                span = self._shared_output(output.parameters, i) if is_cheap(request) else None
                if span is None:
                    return None
                known = known._replace(span=span)
            wanted.append(known)
        return wanted

    def _shared_output(self, parameters: Parameters, index: int) -> SharedSpan | None:
        """The shared memory of an output that is no classification; None where it has none, or a wrong one."""
        if self._regions is None or "classification" in parameters:
            return None
        try:
            return shared_span(parameters, f"outputs[{index}]", self._regions)
        except InvalidInput:
            return None


def tensor_call(model: LoadedModel, request: InferRequest, wanted: Sequence[WantedOutput]) -> TensorCall | None:
    """A request that `requests.py` has read; None where it brings raw input, or a row that the task does not take."""
    items = []
    for instance in request.instances:
        if not isinstance(instance, TensorInstance):
            return None
        try:
            items.append(model.task.row(instance, ""))
        except InvalidInput:  # fails alone: its neighbours still run, and count
            return None
    return TensorCall(model, items, request.deadline, request.priority, wanted, request.request_id)
