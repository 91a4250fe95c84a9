"""What a caller gets to know of datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from service.client.errors import BadInput
from service.client.plain import moment, word, words_of
from service.client.results import seconds
from service.folder_walk import LeftOut
from service.pb import fine_tuning_pb2 as pb

_KIND, _STATE = "DATASET_KIND_", "DATASET_STATE_"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns mean what, by name; what is left empty is found by its usual name, or from the data."""

    text: str = ""
    target: str = ""
    """The label or number that is to be learned."""
    image: str = ""
    """Names a picture's file, in an image table."""
    split: str = ""
    """Says `train`, `validation` or `test`."""
    time: str = ""
    series: str = ""
    """Tells series apart, in a table of several."""
    ignored: tuple[str, ...] = ()
    """Not to be looked at."""


@dataclass(frozen=True, slots=True)
class SkippedExample:
    """An example that cannot be used."""

    file: str
    row: int
    """The first is 1; 0 where the file has no rows."""
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What validation found."""

    examples: int
    """That can be used."""
    class_counts: Mapping[str, int]
    split_counts: Mapping[str, int]
    skipped_count: int
    skipped: tuple[SkippedExample, ...]
    """The first of them; only where one dataset was asked for."""
    warnings: tuple[str, ...]
    duplicates: int
    """Groups of examples with the same content."""
    target_statistics: Mapping[str, float]
    duration_s: float
    input_count: int = 0
    """Rows (of tables, texts and series), lines (of plain text) and files (of archives) that came in. Each is used or skipped."""
    skipped_reasons: Mapping[str, int] = field(default_factory=dict)
    """How many were skipped for which reason."""
    inferred: tuple[str, ...] = ()
    """What was found out because the upload did not say it (kind, task, target, split, classes), and why: one line each."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Stored data, immutable."""

    id: str
    display_name: str
    kind: str
    """`image_folder`, `audio_folder`, `text`, `table`, `image_table`, `series` or `plain_text`."""
    state: str
    """VALIDATING, READY or DAMAGED."""
    sha256: str
    """Of the bytes that were uploaded, in hexadecimal."""
    size_bytes: int
    columns: Columns
    report: DatasetReport
    created: datetime | None
    uri: str
    owner: str
    existed: bool = False
    """Whether the server had it before this upload."""
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    """What was not sent of a folder, and why; of the one who uploaded it alone."""
    damaged: str = ""
    """What cannot be read of it, in one sentence; empty where all can. It can be deleted, and uploaded again."""


def kind_value(name: str) -> pb.DatasetKind.ValueType:
    """`image_folder` as the protocol's number; empty is UNSPECIFIED. Raises BadInput for a word that is no kind."""
    if not name:
        return pb.DATASET_KIND_UNSPECIFIED
    try:
        return pb.DatasetKind.Value(_KIND + name.upper().replace("-", "_"))
    except ValueError:
        known = words_of(pb.DatasetKind, _KIND)
        raise BadInput(f"kind: expected one of {', '.join(known).lower()}, got {name!r}") from None


def write_columns(columns: Columns | Mapping[str, str]) -> pb.DatasetColumns:
    """Columns as a message; a mapping has the names of `Columns`. Raises BadInput for one that is none."""
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
    )


def read_dataset(message: pb.Dataset, *, existed: bool = False) -> Dataset:
    """A dataset of the protocol as the SDK's own."""
    columns = message.columns
    return Dataset(
        id=message.id,
        display_name=message.display_name,
        kind=word(pb.DatasetKind, message.kind, _KIND).lower(),
        state=word(pb.DatasetState, message.state, _STATE),
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
        ),
        report=_report(message.report),
        created=moment(message, "create_time"),
        uri=message.uri,
        owner=message.owner,
        existed=existed,
        damaged=message.damaged,
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
