"""Readers of images and sounds: a folder for each class, or a table that names the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted
from service.datasets.readers.columns.cells import CellReading
from service.datasets.readers.columns.column_summary import ColumnSummary
from service.datasets.readers.columns.input_columns import InputColumns
from service.datasets.readers.columns.targets import AS_WRITTEN, add_target, read_class_folder
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.readers.media.decode_check import check_audio, check_image
from service.datasets.readers.media.folder_layout import folder_labels, read_layout, split_folders_alone
from service.datasets.readers.media.named_files import NamedFiles
from service.datasets.readers.parsed_example import (
    ParsedExample,
    ReaderSchema,
    Skip,
    TargetKind,
    Warn,
    digest_of,
)
from service.datasets.readers.tables.table import Cell, Table
from service.errors import InvalidInput

MAX_ID = 10**18
"""Larger numbers are no ids."""
_CHECKS = {
    DatasetKind.AUDIO_FOLDER: check_audio,
    DatasetKind.IMAGE_FOLDER: check_image,
    DatasetKind.IMAGE_TABLE: check_image,
}


def check_media_file(
    files: ArchiveFiles, path: PurePosixPath, kind: DatasetKind, limits: DatasetLimits
) -> tuple[str, str]:
    """(digest, "") of an image or sound, or ("", what is wrong with it)."""
    data, problem = _CHECKS[kind](files.root / path, limits)
    return ("", problem) if problem else (digest_of(data), "")


class MediaFolderReader:
    """Reads `class/file`, or `train/class/file`."""

    def __init__(self, files: ArchiveFiles, kind: DatasetKind, limits: DatasetLimits) -> None:
        """Raises InvalidInput for folders of splits without folders of classes."""
        self._files = files
        self._kind = kind
        self._limits = limits
        self._paths = files.audio if kind is DatasetKind.AUDIO_FOLDER else files.images
        if problem := split_folders_alone(self._paths):
            raise InvalidInput("data", problem)

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(self._kind, Columns(), TargetKind.CLASS)

    def input_count(self) -> int:
        """See `Reader`."""
        return len(self._paths)

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each file, in the order of their paths."""
        found = read_layout(self._paths)
        if remark := found.remark():
            warn(remark)
        for path, folder in zip(self._paths, found.labels, strict=True):
            label, problem = read_class_folder(folder.label, self._limits.name_characters)
            if not folder.label:
                problem = folder.problem or "lies in no folder, so its class is not known"
            digest = ""
            if not problem:
                digest, problem = check_media_file(self._files, path, self._kind, self._limits)
            if problem:
                skip(str(path), 0, problem)
            else:
                yield ParsedExample({"file": str(path)}, digest, str(path), label=label, split=folder.split)


class MediaTableReader:
    """Reads a table with a column that names a file, a target, and perhaps further columns."""

    def __init__(
        self,
        files: ArchiveFiles,
        table: Table,
        columns: Columns,
        kind: DatasetKind,
        target: TargetKind,
        row: Mapping[str, ColumnSummary],
        limits: DatasetLimits,
        reading: CellReading = AS_WRITTEN,
    ) -> None:
        """`reading`: how the cells of the target's column are read."""
        self._reading = reading
        self._files = files
        self._table = table
        self._columns = columns
        self._kind = kind
        self._target = target
        self._row = InputColumns(row)
        self._limits = limits
        paths = files.audio if kind is DatasetKind.AUDIO_FOLDER else files.images
        self._named = NamedFiles(paths, PurePosixPath(table.name).parent)
        self._splits = (
            {} if columns.split else {p: folder.split for p, folder in zip(paths, folder_labels(paths), strict=True)}
        )

    def schema(self) -> ReaderSchema:
        """The categories are complete after the end of `examples`."""
        return ReaderSchema(self._kind, self._columns, self._target, self._row.inputs(), row_columns=self._row.columns)

    def input_count(self) -> int:
        """Rows, and files that no row names; see `Reader`."""
        return self._table.count + len(self._named.unnamed())

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each row whose file exists and can be read."""
        for sentence in self._row.warnings:
            warn(sentence)
        checked: dict[PurePosixPath, tuple[str, str]] = {}
        for row in self._table.rows(warn):
            problem, path = row.problem, None
            if not problem:
                path, problem = self._find(row.cells.get(self._columns.image))
            example = ParsedExample({}, "", self._table.name, row.number)
            if path is not None and not problem:
                problem = add_target(
                    example, row.cells, self._columns, self._target, self._limits.name_characters, self._reading
                )
                example.split = example.split or self._splits.get(path, "")
            if path is not None and not problem:
                cells, problem = self._row.read(row.cells)
                if self._row.columns:
                    example.values["row"] = cells
            if path is not None and not problem:
                if path not in checked:
                    checked[path] = check_media_file(self._files, path, self._kind, self._limits)
                digest, wrong = checked[path]
                problem = f"{quoted(str(path))} {wrong}" if wrong else ""
                example.digest = digest_of(digest, repr(example.values.get("row")))
                example.values["file"] = str(path)
            if problem:
                skip(self._table.name, row.number, problem)
            else:
                yield example
        if unnamed := self._named.unnamed():
            for path in unnamed:
                skip(str(path), 0, f"no row of {quoted(self._table.name)} names it", example=False)
            more = f" and {len(unnamed) - 1} more" if len(unnamed) > 1 else ""
            warn(f"no row of {quoted(self._table.name)} names {quoted(str(unnamed[0]))}{more}")
        for sentence in self._row.remarks():
            warn(sentence)

    def _find(self, cell: Cell) -> tuple[PurePosixPath | None, str]:
        if isinstance(cell, str) and cell.strip():
            return self._named.find(cell)
        if isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < MAX_ID and cell == int(cell):
            return self._named.find(str(int(cell)))  # ids in JSON and Parquet
        return None, f"{quoted(self._columns.image)} names no file"
