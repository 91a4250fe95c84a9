"""Datasets: domain types ↔ messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from service.datasets.damaged_datasets import DamagedDataset
from service.datasets.dataset import Columns, DatasetInfo, DatasetKind, DatasetReport
from service.datasets.upload.header import UploadHeader
from service.errors import InvalidInput
from service.pb import fine_tuning_pb2 as pb
from service.wire.times import duration, timestamp

_KINDS = {
    DatasetKind.IMAGE_FOLDER: pb.DATASET_KIND_IMAGE_FOLDER,
    DatasetKind.AUDIO_FOLDER: pb.DATASET_KIND_AUDIO_FOLDER,
    DatasetKind.TEXT: pb.DATASET_KIND_TEXT,
    DatasetKind.TABLE: pb.DATASET_KIND_TABLE,
    DatasetKind.IMAGE_TABLE: pb.DATASET_KIND_IMAGE_TABLE,
    DatasetKind.SERIES: pb.DATASET_KIND_SERIES,
    DatasetKind.PLAIN_TEXT: pb.DATASET_KIND_PLAIN_TEXT,
    DatasetKind.SPANS: pb.DATASET_KIND_SPANS,
    DatasetKind.BOXES: pb.DATASET_KIND_BOXES,
    DatasetKind.MASKS: pb.DATASET_KIND_MASKS,
}
MAX_SEPARATOR_CHARACTERS = 16
_NEVER = datetime.fromtimestamp(0, UTC)
_KIND_OF = {value: kind for kind, value in _KINDS.items()}
_ROLES = ("text", "target", "image", "split", "time", "series", "text_pair")


# ── read ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_header(message: pb.UploadHeader, owner: str, *, private: bool) -> UploadHeader:
    """The header of an upload; the store checks it. `private`: see UploadHeader. Raises InvalidInput for an unknown kind."""
    return UploadHeader(
        sha256=message.sha256.lower(),
        size_bytes=message.size_bytes,
        file_name=_required(message.file_name, "header.file_name"),
        offset=message.offset,
        kind=read_kind(message.kind, "header.kind"),
        columns=read_columns(message.columns),
        display_name=message.display_name,
        owner=owner,
        task=message.task,
        private=private,
    )


def check_uri_header(message: pb.UploadHeader) -> None:
    """Raises InvalidInput where a header with a URI also describes bytes."""
    for field in ("sha256", "size_bytes", "offset", "file_name"):
        if getattr(message, field):
            raise InvalidInput(
                f"header.{field}", "belongs to an upload; with header.uri the server reads the data itself"
            )


def read_kind(value: int, field: str) -> DatasetKind | None:
    """None for unspecified. Raises InvalidInput for a number that is no kind."""
    if value == pb.DATASET_KIND_UNSPECIFIED:
        return None
    if value not in _KIND_OF:
        raise InvalidInput(field, f"expected a kind that this server knows, got {value}")
    return _KIND_OF[pb.DatasetKind.ValueType(value)]


def read_kinds(values: Sequence[int]) -> tuple[DatasetKind, ...]:
    """The kinds that a dataset may have; empty for any. Raises InvalidInput as `read_kind`."""
    found = [read_kind(value, f"dataset_kinds[{i}]") for i, value in enumerate(values)]
    return tuple(kind for kind in found if kind is not None)


def read_columns(message: pb.DatasetColumns) -> Columns:
    """The columns by role."""
    roles = {role: getattr(message, role) for role in _ROLES}
    return Columns(**roles, label_separator=_separator(message.label_separator), ignored=tuple(message.ignored))


def _separator(text: str) -> str:
    if len(text) > MAX_SEPARATOR_CHARACTERS:
        raise InvalidInput(
            "header.columns.label_separator",
            f"expected at most {MAX_SEPARATOR_CHARACTERS} characters, got {len(text)}",
        )
    return text


def _required(text: str, field: str) -> str:
    if not text:
        raise InvalidInput(field, "is required")
    return text


# ── write ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_entry(entry: DatasetInfo | DamagedDataset, *, whole: bool = True) -> pb.Dataset:
    """A dataset, or a damaged one. A dataset whose damage shows only here is written as damaged."""
    if isinstance(entry, DamagedDataset):
        return write_damaged(entry)
    try:
        return write_dataset(entry, whole=whole)
    except (ValueError, TypeError, OverflowError):
        return write_damaged(DamagedDataset(entry.id, "its dataset.json holds a value that is out of range", _NEVER))


def write_damaged(entry: DamagedDataset) -> pb.Dataset:
    """A dataset that cannot be read."""
    return pb.Dataset(
        id=entry.id,
        display_name=entry.display_name,
        kind=pb.DATASET_KIND_UNSPECIFIED if entry.kind is None else _KINDS[entry.kind],
        state=pb.DATASET_STATE_DAMAGED,
        size_bytes=entry.size_bytes,
        create_time=timestamp(entry.created),
        owner=entry.owner,
        damaged=entry.reason,
    )


def write_dataset(info: DatasetInfo, *, whole: bool = True) -> pb.Dataset:
    """A dataset with its report; unless `whole`, without the list of skipped examples."""
    columns = {role: getattr(info.columns, role) for role in _ROLES}
    return pb.Dataset(
        id=info.id,
        display_name=info.display_name,
        kind=_KINDS[info.kind],
        state=pb.DATASET_STATE_READY,
        sha256=info.sha256,
        size_bytes=info.size_bytes,
        columns=pb.DatasetColumns(
            **columns, label_separator=info.columns.label_separator, ignored=info.columns.ignored
        ),
        report=_write_report(info.report, whole),
        create_time=timestamp(info.created),
        uri=info.uri,
        owner=info.owner,
        multi_label=info.multi_label,
    )


def _write_report(report: DatasetReport, whole: bool) -> pb.DatasetReport:
    skipped = report.skipped if whole else ()
    return pb.DatasetReport(
        example_count=report.examples,
        class_counts=report.class_counts,
        split_counts=report.split_counts,
        skipped_count=report.skipped_count,
        skipped=[pb.SkippedExample(file=x.file, row=x.row, reason=x.reason) for x in skipped],
        warnings=report.warnings,
        duplicate_count=report.duplicates,
        input_count=report.input_count,
        skipped_reasons=report.skipped_reasons,
        target_statistics=report.target_statistics,
        duration=duration(report.duration_s),
        inferred=report.inferred,
    )
