"""Replies as JSON in which only times, sizes of memory and random names are replaced.

Marks in the JSON: `{"words": text}` is a sentence for people, `{"tensor": datatype, "data": …}` the elements of a tensor,
`"<time>"` and the like stand for what differs between two runs of the same code.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc import error_details_pb2  # noqa: F401 - details inside of Any are known by it

VOLATILE = {
    "zoo.v1.PredictResponse.timing",
    "zoo.v1.Runtime.memory_bytes",
    "zoo.v1.Runtime.growth_bytes",
    "zoo.v1.ModelVersion.memory_bytes",
    "zoo.v1.ModelVersion.size_bytes",
    "zoo.v1.UnloadModelResponse.held_bytes",
    "zoo.v1.UnloadModelResponse.freed_bytes",
    "zoo.v1.DeleteVersionResponse.freed_bytes",
    "zoo.v1.DeleteDatasetResponse.freed_bytes",
    "zoo.v1.DeleteJobResponse.freed_bytes",
    "zoo.v1.Checkpoint.size_bytes",
    "zoo.v1.Job.last_event",
    "zoo.v1.JobEvent.sequence",
    "zoo.v1.ListModelsResponse.next_page_token",
    "zoo.v1.ListDatasetsResponse.next_page_token",
    "zoo.v1.ListJobsResponse.next_page_token",
    "inference.ModelStatistics.last_inference",
    "inference.StatisticDuration.ns",
    "inference.MemoryUsage.byte_size",
}
"""Fields whose value is a matter of the run; that they are there is kept."""

DROPPED = {"zoo.v1.WatchJobResponse.job"}
"""Fields that are there or not as the run goes."""

KEPT_DURATIONS = {
    "zoo.v1.AudioSegments.frame_duration",
    "zoo.v1.AudioSegments.duration",
    "zoo.v1.AudioSegment.start",
    "zoo.v1.AudioSegment.end",
}
"""Durations that are answers. All others are measurements."""

WORDS = {
    "google.rpc.Status.message",
    "google.rpc.BadRequest.FieldViolation.description",
    "inference.ModelStreamInferResponse.error_message",
    "inference.RepositoryIndexResponse.ModelIndex.reason",
    "zoo.v1.Model.state_reason",
    "zoo.v1.Model.summary",
    "zoo.v1.Model.damaged",
    "zoo.v1.ModelVersion.state_reason",
    "zoo.v1.ModelVersion.damaged",
    "zoo.v1.Runtime.note",
    "zoo.v1.Evidence.reason",
    "zoo.v1.Decisions.problem",
    "zoo.v1.Traffic.rolled_back_reason",
    "zoo.v1.Origin.provenance",
    "zoo.v1.DatasetReport.warnings",
    "zoo.v1.DatasetReport.inferred",
    "zoo.v1.SkippedExample.reason",
    "zoo.v1.Job.state_reason",
    "zoo.v1.Job.promotion_outcome",
    "zoo.v1.StateChanged.reason",
    "zoo.v1.LogLine.text",
}
"""Sentences: they may be written anew without a change of behaviour."""

VOLATILE_KEYS = re.compile(
    r"(^|_)(s|ms|seconds|duration|durations|time|times|created|started|ended|bytes|pid|port|timestamp|last_event|elapsed|timing)$"
)
"""Names of volatile entries in JSON that no descriptor describes: reports, and what the command prints."""

WORD_KEYS = {
    "error", "problem", "reason", "state_reason", "message", "text", "note", "summary", "provenance", "warning",
    "rolled_back_reason", "promotion_outcome", "description", "damaged", "rule", "explanation",
}  # fmt: skip
"""Names of sentences there."""
WORD_LISTS = {"warnings", "inferred", "notes", "remarks", "sentences"}

LONG = 24
"""Elements from which on a list is stored in less room."""

REFERENCE = re.compile(r"(reference )[0-9a-f]{12}\b")
"""What an internal error tells for the log to be searched by."""

MADE_ID = re.compile(r"[0-9a-f]{16}")
"""An id that the server made for a request without one."""

MEASURED = re.compile(r"\b\d+(?:\.\d+)? MiB\b")
"""Memory in a sentence, which is measured."""


def words(text: str) -> dict[str, str]:
    """A sentence for people."""
    return {"words": MEASURED.sub("N MiB", REFERENCE.sub(r"\1<reference>", text))}


def message_as_json(message: Message, without: Collection[str] = ()) -> Any:
    """A reply, normalised. `without`: full names of further fields that are left out."""
    found = MessageToDict(message, preserving_proto_field_name=True)
    return _message(message.DESCRIPTOR, found, DROPPED.union(without))


def _message(kind: Descriptor, found: Any, without: Collection[str]) -> Any:
    if kind.full_name == "google.protobuf.Timestamp":
        return "<time>"
    if kind.full_name == "google.protobuf.Struct":
        return free_json(found)
    if kind.full_name == "google.protobuf.Any":
        inner = descriptor_pool.Default().FindMessageTypeByName(found["@type"].rpartition("/")[2])
        rest = {name: value for name, value in found.items() if name != "@type"}
        return {"@type": found["@type"]} | _message(inner, rest, without)
    if not isinstance(found, dict):
        return found
    fields = {kind.fields_by_name[name]: value for name, value in found.items()}
    made = {f.name: _field(f, value, without) for f, value in fields.items() if f.full_name not in without}
    if kind.full_name == "zoo.v1.Tensor" and "data" in made:
        made["data"] = tensor(made.get("datatype", ""), base64.b64decode(made["data"]))
    if kind.full_name == "inference.ModelInferResponse" and "raw_output_contents" in made:
        raw = [base64.b64decode(data) for data in made["raw_output_contents"]]
        types = [output.get("datatype", "") for output in made.get("outputs", [])]
        made["raw_output_contents"] = [tensor(t, data) for t, data in zip(types, raw, strict=True)]
    return made


def _field(field: FieldDescriptor, value: Any, without: Collection[str]) -> Any:
    if field.full_name in VOLATILE:
        return f"<{field.name}>"
    if field.full_name == "google.rpc.RequestInfo.request_id" and MADE_ID.fullmatch(value):
        return "<request_id>"
    if field.full_name in WORDS:
        return [words(text) for text in value] if isinstance(value, list) else words(value)
    kind = field.message_type
    if field.full_name == "zoo.v1.DatasetReport.skipped_reasons":
        return [[words(reason), count] for reason, count in sorted(value.items())]
    if field.full_name == "zoo.v1.GetReportResponse.html":
        return page(base64.b64decode(value).decode())
    if field.full_name == "grpc.reflection.v1alpha.FileDescriptorResponse.file_descriptor_proto":
        return [_described(base64.b64decode(data)) for data in value]
    if kind is None:
        return _compact(field, value)
    if kind.full_name == "google.protobuf.Duration":
        return value if field.full_name in KEPT_DURATIONS else "<duration>"
    if kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        return {key: _field(inner, value[key], without) for key in sorted(value)}
    if isinstance(value, list) and kind.full_name != "google.protobuf.ListValue":
        return [_message(kind, part, without) for part in value]
    return _message(kind, value, without)


def _compact(field: FieldDescriptor, value: Any) -> Any:
    """Long lists in less room: numbers as a tensor, names by their digest."""
    if not isinstance(value, list) or len(value) < LONG:
        return value
    kinds = {FieldDescriptor.TYPE_FLOAT: ("FP32", "<f4"), FieldDescriptor.TYPE_DOUBLE: ("FP64", "<f8")}
    if field.type in kinds:
        name, kind = kinds[field.type]
        return tensor(name, np.array([float(number) for number in value], kind).tobytes())
    return _digest(value) if field.type == FieldDescriptor.TYPE_STRING else value


def _digest(values: list[str]) -> dict[str, Any]:
    digest = hashlib.sha256("\n".join(values).encode()).hexdigest()
    return {"count": len(values), "first": values[0], "last": values[-1], "sha256": digest}


def _described(data: bytes) -> dict[str, Any]:
    """A file of reflection: comments are not in it, and everything else has to stay as it is."""
    file = descriptor_pb2.FileDescriptorProto.FromString(data)
    digest = hashlib.sha256(file.SerializeToString(deterministic=True)).hexdigest()
    return {"name": file.name, "sha256": digest, "services": [service.name for service in file.service]}


def tensor(datatype: str, data: bytes) -> dict[str, Any]:
    """Elements of a tensor, so that they can be compared exactly or as numbers. Those of BYTES stand behind their lengths."""
    if datatype != "BYTES":
        return {"tensor": datatype, "data": base64.b64encode(data).decode()}
    parts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        parts.append(data[at + 4 : at + 4 + size].decode("utf-8", "backslashreplace"))
        at += 4 + size
    return {"tensor": datatype, "data": parts}


def page(html: str) -> dict[str, Any]:
    """The outline of a page: its elements in order of kind, and its headings as words."""
    kinds = re.findall(r"<([a-z]+[0-9]?)\b", html)
    counts = {
        kind: kinds.count(kind) for kind in sorted({"table", "svg", "section", "tr", "h1", "h2", "h3"} & {*kinds})
    }
    headings = re.findall(r"<h[1-6][^>]*>(.*?)</h[1-6]>", html, re.DOTALL)
    return {"elements": counts, "headings": [words(" ".join(heading.split())) for heading in headings]}


def free_json(value: Any, key: str = "") -> Any:
    """JSON without a descriptor, normalised by the names of its entries."""
    if key == "checked":
        return sorted(value)  # how many events and checkpoints there are is a matter of the run
    if isinstance(value, dict):
        return {name: free_json(part, name) for name, part in sorted(value.items())}
    if key and VOLATILE_KEYS.search(key) and not isinstance(value, list):
        return value if value in (None, 0, "", False) and not isinstance(value, float) else f"<{key}>"
    if isinstance(value, list):
        if key in WORD_LISTS:
            return [words(part) if isinstance(part, str) else free_json(part) for part in value]
        if len(value) >= LONG and all(isinstance(part, str) for part in value):
            return _digest(value)
        if len(value) >= LONG and all(isinstance(part, float) for part in value):
            return tensor("FP64", np.array(value, "<f8").tobytes())
        return [free_json(part, "" if isinstance(part, (dict, list)) else key) for part in value]
    if key in WORD_KEYS and isinstance(value, str) and value:
        return words(value)
    return value


def everywhere(value: Any, change: Callable[[str], str]) -> Any:
    """`value` with each string in it changed, those of names of entries, too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(name)): everywhere(part, change) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [everywhere(part, change) for part in value]
    return value
