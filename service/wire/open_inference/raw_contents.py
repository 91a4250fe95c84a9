"""Reads a ModelInferRequest without copying its tensors.

Protobuf copies every `bytes` field twice: into the message when it parses, and out of it at every access. A photo as FP32
has 600 KB, so large messages are split here, by the wire format of Protocol Buffers: the entries of `raw_input_contents` become
views of the bytes that arrived, and protobuf parses only the rest.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from service.pb import open_inference_pb2 as pb

FIELD = pb.ModelInferRequest.DESCRIPTOR.fields_by_name["raw_input_contents"].number
METHODS = ("ModelInfer", "ModelStreamInfer")
WORTH_IT = 16 * 1024
"""Bytes. Below, two copies cost less than splitting the message."""

LENGTH_DELIMITED = 2
FIXED_SIZES = {1: 8, 5: 4}  # wire types of fixed64 and fixed32

MOST_FIELDS = 1024
"""Protobuf parses messages with more fields: one of 64 MiB could hold millions, and the event loop would count them one by
one."""

Raws = Sequence[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived: the message without its raw contents, and the raw contents."""

    message: pb.ModelInferRequest
    raws: Raws


def read(data: bytes) -> Received:
    """Bytes of a ModelInferRequest → message and raw contents. Raises DecodeError where the bytes are no such message."""
    if len(data) < WORTH_IT:
        message = pb.ModelInferRequest.FromString(data)
        return Received(message, message.raw_input_contents)
    parts = _split(memoryview(data))
    if parts is None:
        message = pb.ModelInferRequest.FromString(data)
        return Received(message, message.raw_input_contents)
    rest, raws = parts
    return Received(pb.ModelInferRequest.FromString(rest), raws)


def received(request: pb.ModelInferRequest | Received) -> Received:
    """The same for a request that may have been parsed already."""
    return request if isinstance(request, Received) else Received(request, request.raw_input_contents)


class ViewsServer:
    """A server as generated code sees it when it adds the Open Inference servicer, which then gets requests as `Received`."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Called by generated code to add a servicer."""
        changed = {name: handlers[name]._replace(request_deserializer=read) for name in METHODS}
        self._server.add_registered_method_handlers(service, {**handlers, **changed})

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Called by generated code with the same methods."""
        self._server.add_generic_rpc_handlers(handlers)


def _split(data: memoryview) -> tuple[bytes, list[memoryview]] | None:
    """Fields other than the raw contents, joined again; and the raw contents, as views. None where there are too many fields."""
    raws: list[memoryview] = []
    others: list[memoryview] = []
    at, size = 0, len(data)
    while at < size:
        if len(raws) + len(others) >= MOST_FIELDS:
            return None
        start = at
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == LENGTH_DELIMITED:
            length, at = _varint(data, at)
            at += length
            if at > size:
                raise DecodeError("a field runs past the end")
            if tag >> 3 == FIELD:
                raws.append(data[at - length : at])
                continue
        elif kind == 0:
            _, at = _varint(data, at)
        elif kind in FIXED_SIZES:
            at += FIXED_SIZES[kind]
        else:  # groups, which this message never had: protobuf decides about the rest
            at = size
        others.append(data[start:at])
    return b"".join(others), raws


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number in base 128, least significant group first, and where it ends."""
    value = shift = 0
    while shift < 64:
        if at >= len(data):
            raise DecodeError("a number is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7
    raise DecodeError("a number is longer than 64 bits")
