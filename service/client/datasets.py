"""Datasets: the SDK's classes, and their conversion from and to messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.client.errors import BadInput
from service.client.message_fields import enum_word, enum_words, utc_time
from service.folder_walk import LeftOut
from service.pb import fine_tuning_pb2 as pb
from service.protobuf_values import seconds

_KIND, _STATE = "DATASET_KIND_", "DATASET_STATE_"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns by role. The server finds the column of an empty role by its usual name, or from the data."""

    text: str = ""
    target: str = ""
    """The label or number to learn."""
    image: str = ""
    """The image file, in an image table."""
    split: str = ""
    """`train`, `validation` or `test`."""
    time: str = ""
    series: str = ""
    """The name of the series, in a table of several."""
    ignored: tuple[str, ...] = ()
    """Columns that are not inputs."""
    text_pair: str = ""
    """The second of two texts that are read together."""
    label_separator: str = ""
    """No column: the text between the classes of a cell of the target, such as `|`, where a row may have several."""


@dataclass(frozen=True, slots=True)
class SkippedExample:
    """An example that validation skipped."""

    file: str
    row: int
    """Counts from 1; 0 if the file has no rows."""
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """Findings of validation."""

    examples: int
    """Number of usable examples."""
    class_counts: Mapping[str, int]
    split_counts: Mapping[str, int]
    skipped_count: int
    skipped: tuple[SkippedExample, ...]
    """The first skipped examples; empty in lists of datasets."""
    warnings: tuple[str, ...]
    duplicates: int
    """Number of groups of examples with the same content."""
    target_statistics: Mapping[str, float]
    duration_s: float
    input_count: int = 0
    """Number of rows (tables, texts, series), lines (plain text) or files (archives) in the upload. Each is used or skipped."""
    skipped_reasons: Mapping[str, int] = field(default_factory=dict)
    """Number of skipped examples by reason."""
    inferred: tuple[str, ...] = ()
    """What the server inferred because the upload did not say it (kind, task, target, split, classes), with the reason: one line
    each."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """An immutable stored dataset."""

    id: str
    display_name: str
    kind: str
    """`image_folder`, `audio_folder`, `text`, `table`, `image_table`, `series`, `plain_text`, `spans`, `boxes` or `masks`."""
    state: str
    """VALIDATING, READY or DAMAGED."""
    sha256: str
    """Digest of the uploaded bytes, in hexadecimal."""
    size_bytes: int
    columns: Columns
    report: DatasetReport
    created: datetime | None
    uri: str
    owner: str
    existed: bool = False
    """Whether the server had the dataset before this upload."""
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    """Files of a folder that were not sent, with the reason. Only `upload_dataset` fills it."""
    multi_label: bool = False
    """Whether an example has any number of the classes, rather than one."""
    damaged: str = ""
    """One sentence that says which part cannot be read; empty if all can. A damaged dataset can be deleted and uploaded again."""


def kind_value(name: str) -> pb.DatasetKind.ValueType:
    """The number of a kind such as `image_folder`; UNSPECIFIED for an empty word. Raises BadInput for an unknown word."""
    if not name:
        return pb.DATASET_KIND_UNSPECIFIED
    try:
        return pb.DatasetKind.Value(_KIND + name.upper().replace("-", "_"))
    except ValueError:
        known = enum_words(pb.DatasetKind, _KIND)
        raise BadInput(f"kind: expected one of {', '.join(known).lower()}, got {name!r}") from None


def write_columns(columns: Columns | Mapping[str, str]) -> pb.DatasetColumns:
    """Columns as a message. Raises BadInput for a mapping with a key that is no field of `Columns`."""
    if not isinstance(columns, Columns):
        unknown = [name for name in columns if name not in Columns.__dataclass_fields__]
        if unknown:
            known = ", ".join(Columns.__dataclass_fields__)
            raise BadInput(f"columns.{unknown[0]}: no such role of a column; known are {known}")
        columns = Columns(**columns)  # type: ignore[arg-type]
    return pb.DatasetColumns(
        text=columns.text,
        target=columns.target,
        image=columns.image,
        split=columns.split,
        time=columns.time,
        series=columns.series,
        ignored=columns.ignored,
        text_pair=columns.text_pair,
        label_separator=columns.label_separator,
    )


def read_dataset(message: pb.Dataset, *, existed: bool = False) -> Dataset:
    """A dataset from its message."""
    columns = message.columns
    return Dataset(
        id=message.id,
        display_name=message.display_name,
        kind=enum_word(pb.DatasetKind, message.kind, _KIND).lower(),
        state=enum_word(pb.DatasetState, message.state, _STATE),
        sha256=message.sha256,
        size_bytes=message.size_bytes,
        columns=Columns(
            columns.text,
            columns.target,
            columns.image,
            columns.split,
            columns.time,
            columns.series,
            tuple(columns.ignored),
            columns.text_pair,
            columns.label_separator,
        ),
        report=_report(message.report),
        created=utc_time(message, "create_time"),
        uri=message.uri,
        owner=message.owner,
        existed=existed,
        damaged=message.damaged,
        multi_label=message.multi_label,
    )


def _report(message: pb.DatasetReport) -> DatasetReport:
    return DatasetReport(
        examples=message.example_count,
        class_counts=dict(message.class_counts),
        split_counts=dict(message.split_counts),
        skipped_count=message.skipped_count,
        skipped=tuple(SkippedExample(x.file, x.row, x.reason) for x in message.skipped),
        warnings=tuple(message.warnings),
        duplicates=message.duplicate_count,
        target_statistics=dict(message.target_statistics),
        duration_s=seconds(message.duration),
        inferred=tuple(message.inferred),
        input_count=message.input_count,
        skipped_reasons=dict(message.skipped_reasons),
    )
