"""The protocol is as stock clients have it: nothing missing, nothing extra, save two documented fields of KServe's."""

import csv
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from service.pb import open_inference_pb2 as pb

DATA = Path(__file__).parent / "data"

KSERVE = {
    ("inference.RepositoryModelLoadResponse", "model_name", "1", "string", "singular"),
    ("inference.RepositoryModelLoadResponse", "isLoaded", "2", "bool", "singular"),
    ("inference.RepositoryModelUnloadResponse", "model_name", "1", "string", "singular"),
    ("inference.RepositoryModelUnloadResponse", "isUnloaded", "2", "bool", "singular"),
}
"""Triton's replies are empty and its clients skip unknown fields; KServe's client expects these."""

SCALARS = {
    getattr(FieldDescriptor, f"TYPE_{name.upper()}"): name
    for name in ("bool", "string", "bytes", "float", "double", "int32", "int64", "uint32", "uint64")
}

Fact = tuple[str, ...]


def facts(name: str) -> set[Fact]:
    with (DATA / name).open(newline="") as file:
        return {tuple(row) for row in list(csv.reader(file, delimiter="\t"))[1:]}


def label(field: FieldDescriptor) -> str:
    if field.containing_oneof is not None:
        return f"oneof:{field.containing_oneof.name}"
    return "repeated" if field.is_repeated else "singular"


def enum_facts(enum: EnumDescriptor) -> Iterator[Fact]:
    for value in enum.values:
        yield enum.full_name, value.name, str(value.number), "enum_value", ""


def message_facts(message: Descriptor) -> Iterator[Fact]:
    for field in message.fields:
        of = field.message_type or field.enum_type
        kind = of.full_name if of is not None else SCALARS[field.type]
        yield message.full_name, field.name, str(field.number), kind, label(field)
    for enum in message.enum_types:
        yield from enum_facts(enum)
    for nested in message.nested_types:
        yield from message_facts(nested)


def test_every_field_and_enum_value_is_the_protocols() -> None:
    ours: set[Fact] = set()
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        ours |= set(message_facts(message))
    for enum in pb.DESCRIPTOR.enum_types_by_name.values():
        ours |= set(enum_facts(enum))
    theirs = facts("open-inference-fields.tsv")
    assert theirs - ours == set(), "missing"
    assert ours - theirs == KSERVE, "extra"


def test_maps_are_maps() -> None:
    entries = {name for name, *_ in facts("open-inference-fields.tsv") if name.endswith("Entry")}
    pool = pb.DESCRIPTOR.pool
    assert entries
    assert all(pool.FindMessageTypeByName(entry).GetOptions().map_entry for entry in entries)


def test_every_method_is_the_protocols() -> None:
    assert list(pb.DESCRIPTOR.services_by_name) == ["GRPCInferenceService"]
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    kinds = {True: "stream", False: "unary"}
    ours = {
        (
            service.full_name,
            method.name,
            method.input_type.full_name,
            method.output_type.full_name,
            f"{kinds[method.client_streaming]}->{kinds[method.server_streaming]}",
        )
        for method in service.methods
    }
    assert ours == facts("open-inference-methods.tsv")


def test_no_message_exists_beside_the_protocols() -> None:
    named = {row[0] for row in facts("open-inference-fields.tsv")}
    named |= {name for row in facts("open-inference-methods.tsv") for name in row[2:4]}
    ours = {m.full_name for m in pb.DESCRIPTOR.message_types_by_name.values()}
    ours |= {e.full_name for e in pb.DESCRIPTOR.enum_types_by_name.values()}
    assert ours == {name for name in named if name.count(".") == 1}
