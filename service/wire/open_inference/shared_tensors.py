"""Tensors in shared memory: the parameters `shared_memory_region`, `shared_memory_byte_size` and `shared_memory_offset` of the
inputs and outputs of a request. See `regions.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.wire.open_inference.raw_contents import Raws
from service.wire.open_inference.regions import Region, Regions, RegionTooShort

Parameters = Mapping[str, pb.InferParameter]

REGION, BYTE_SIZE, OFFSET = "shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"
PREFIX = "shared_memory_"

CHEAP = 1024 * 1024
"""Bytes that the event loop copies itself, in about 0.1 ms. More is copied in a thread."""


class SharedSpan(NamedTuple):
    """The bytes of one tensor in a region; its bounds are within the region's."""

    region: Region
    offset: int
    """First byte, from the start of the region."""
    size: int
    """Bytes that the caller named."""
    field: str
    """Path of the tensor in the request, for error texts."""

    def read(self) -> bytes:
        """A copy of the bytes. Raises InvalidInput where the memory has become shorter than its region."""
        try:
            return self.region.read(self.offset, self.size)
        except RegionTooShort:
            raise self._too_short(self.size) from None

    def write(self, data: bytes) -> None:
        """Copies an output to the start of the bytes. Raises InvalidInput where it does not fit, or the memory has become shorter
        than its region."""
        if len(data) > self.size:
            raise InvalidInput(
                f"{self.field}.parameters[{BYTE_SIZE}]",
                f"expected at least {len(data)} bytes for the output, got {self.size}",
            )
        try:
            self.region.write(self.offset, data)
        except RegionTooShort:
            raise self._too_short(len(data)) from None

    def _too_short(self, size: int) -> InvalidInput:
        return InvalidInput(
            f"{self.field}.parameters[{REGION}]",
            f"expected {size} bytes at offset {self.offset}, but the memory of the region is now shorter than it was registered",
        )


def shared_span(parameters: Parameters, field: str, regions: Regions | None) -> SharedSpan | None:
    """Where the bytes of a tensor are; None for a tensor that names no region. `regions`: None where the extension is off.

    Raises InvalidInput with a path that begins with `field`, the path of the tensor.
    """
    given = sorted(key for key in parameters if key.startswith(PREFIX))
    if not given:
        return None
    if regions is None:
        raise InvalidInput(
            f"{field}.parameters[{given[0]}]", "shared memory is not supported; send the bytes themselves"
        )
    for key in given:
        if key not in (REGION, BYTE_SIZE, OFFSET):
            raise InvalidInput(
                f"{field}.parameters",
                f"of the names that begin with {PREFIX}, only region, byte_size and offset are known",
            )
    for key in (REGION, BYTE_SIZE):
        if key not in parameters:
            raise InvalidInput(f"{field}.parameters[{key}]", "is required for a tensor in shared memory")
    name = parameters[REGION]
    if name.WhichOneof("parameter_choice") != "string_param":
        raise InvalidInput(f"{field}.parameters[{REGION}]", "expected string_param, the name of a registered region")
    size = _count(parameters, BYTE_SIZE, field)
    offset = _count(parameters, OFFSET, field) if OFFSET in parameters else 0
    region = regions.find(name.string_param)
    if region is None:
        raise InvalidInput(f"{field}.parameters[{REGION}]", "no region of this name is registered")
    if offset + size > region.byte_size:
        raise InvalidInput(
            f"{field}.parameters[{BYTE_SIZE}]",
            f"expected offset and byte_size within the {region.byte_size} bytes of the region, got {offset} and {size}",
        )
    return SharedSpan(region, offset, size, field)


def input_spans(request: pb.ModelInferRequest, regions: Regions | None) -> dict[int, SharedSpan]:
    """Of each input in shared memory, by its index. Raises InvalidInput, also where they are too large together."""
    spans: dict[int, SharedSpan] = {}
    for i, tensor in enumerate(request.inputs):
        if tensor.parameters and (span := shared_span(tensor.parameters, f"inputs[{i}]", regions)) is not None:
            if tensor.HasField("contents"):
                raise InvalidInput(f"inputs[{i}].contents", "must be unset, since the tensor is in shared memory")
            spans[i] = span
    if spans and regions is not None and (size := sum(span.size for span in spans.values())) > regions.most_bytes:
        raise InvalidInput(
            "inputs", f"expected at most {regions.most_bytes} bytes of shared memory in one request, got {size}"
        )
    return spans


def cheap_sources(
    request: pb.ModelInferRequest, raws: Raws, regions: Regions | None
) -> Sequence[bytes | memoryview | SharedSpan] | None:
    """Where the bytes of each input are: in the message, or in shared memory. None where that is wrong, or more than the event
    loop copies, or where the extension is off."""
    if regions is None or not is_cheap(request):
        return None
    try:
        spans = input_spans(request, regions)
    except InvalidInput:
        return None
    if len(spans) + len(raws) != len(request.inputs):
        return None
    sent = iter(raws)
    return [spans[i] if i in spans else next(sent) for i in range(len(request.inputs))]


def is_cheap(request: pb.ModelInferRequest) -> bool:
    """Whether the event loop may copy what the request has in shared memory. Nothing is checked yet."""
    total = 0
    for parameters in (tensor.parameters for tensors in (request.inputs, request.outputs) for tensor in tensors):
        if BYTE_SIZE in parameters:
            value = parameters[BYTE_SIZE]
            total += max(0, value.int64_param, value.uint64_param)
    return total <= CHEAP


def _count(parameters: Parameters, key: str, field: str) -> int:
    value, path = parameters[key], f"{field}.parameters[{key}]"
    kind = value.WhichOneof("parameter_choice")
    if kind not in ("int64_param", "uint64_param"):
        raise InvalidInput(path, f"expected int64_param, got {kind or 'nothing'}")
    count = value.int64_param if kind == "int64_param" else value.uint64_param
    if count < 0:
        raise InvalidInput(path, f"expected 0 or more, got {count}")
    return count
