"""Pictures and sounds: a folder for each class, or a table that names the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import shown
from service.datasets.readers.columns.cells import Reading
from service.datasets.readers.columns.input_columns import RowColumns
from service.datasets.readers.columns.schema import Summary
from service.datasets.readers.columns.targets import AS_WRITTEN, add_target, read_folder
from service.datasets.readers.media.archive_files import Files
from service.datasets.readers.media.decode_check import check_picture, check_sound
from service.datasets.readers.media.folder_layout import layout, places, split_folders_alone
from service.datasets.readers.media.named_files import NamedFiles
from service.datasets.readers.parsed_example import (
    ParsedExample,
    Shape,
    Skip,
    Target,
    Warn,
    digest_of,
)
from service.datasets.readers.tables.table import Cell, Table
from service.errors import InvalidInput

MOST_ID = 10**18
"""From which on a number is no id."""
_CHECKS = {
    DatasetKind.AUDIO_FOLDER: check_sound,
    DatasetKind.IMAGE_FOLDER: check_picture,
    DatasetKind.IMAGE_TABLE: check_picture,
}


def check(files: Files, path: PurePosixPath, kind: DatasetKind, limits: DatasetLimits) -> tuple[str, str]:
    """(digest, "") of a picture or sound, or ("", what is wrong with it)."""
    data, problem = _CHECKS[kind](files.root / path, limits)
    return ("", problem) if problem else (digest_of(data), "")


class MediaFolders:
    """`class/file`, or `train/class/file`."""

    def __init__(self, files: Files, kind: DatasetKind, limits: DatasetLimits) -> None:
        """Raises InvalidInput for folders of splits without folders of classes."""
        self._files = files
        self._kind = kind
        self._limits = limits
        self._paths = files.sounds if kind is DatasetKind.AUDIO_FOLDER else files.pictures
        if problem := split_folders_alone(self._paths):
            raise InvalidInput("data", problem)

    def shape(self) -> Shape:
        """All known from the start."""
        return Shape(self._kind, Columns(), Target.CLASS)

    def entered(self) -> int:
        """See `Reader`."""
        return len(self._paths)

    def drafts(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each file, in the order of their paths."""
        found = layout(self._paths)
        if remark := found.remark():
            warn(remark)
        for path, place in zip(self._paths, found.places, strict=True):
            label, problem = read_folder(place.label, self._limits.name_characters)
            if not place.label:
                problem = place.problem or "lies in no folder, so its class is not known"
            digest = ""
            if not problem:
                digest, problem = check(self._files, path, self._kind, self._limits)
            if problem:
                skip(str(path), 0, problem)
            else:
                yield ParsedExample({"file": str(path)}, digest, str(path), label=label, split=place.split)


class MediaTable:
    """A table with a column that names a file beside it, and with what belongs to it: a target, perhaps more columns."""

    def __init__(
        self,
        files: Files,
        table: Table,
        columns: Columns,
        kind: DatasetKind,
        target: Target,
        row: Mapping[str, Summary],
        limits: DatasetLimits,
        reading: Reading = AS_WRITTEN,
    ) -> None:
        """`reading`: of the target's column."""
        self._reading = reading
        self._files = files
        self._table = table
        self._columns = columns
        self._kind = kind
        self._target = target
        self._row = RowColumns(row)
        self._limits = limits
        paths = files.sounds if kind is DatasetKind.AUDIO_FOLDER else files.pictures
        self._named = NamedFiles(paths, PurePosixPath(table.name).parent)
        self._splits = {} if columns.split else {p: place.split for p, place in zip(paths, places(paths), strict=True)}

    def shape(self) -> Shape:
        """Categories of the rows are complete once the drafts have ended."""
        return Shape(self._kind, self._columns, self._target, self._row.inputs(), row_columns=self._row.columns)

    def entered(self) -> int:
        """See `Reader`: rows, and files that no row names."""
        return self._table.count + len(self._named.unnamed())

    def drafts(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each row whose file is there and can be read."""
        for sentence in self._row.warnings:
            warn(sentence)
        checked: dict[PurePosixPath, tuple[str, str]] = {}
        for row in self._table.rows(warn):
            problem, path = row.problem, None
            if not problem:
                path, problem = self._find(row.cells.get(self._columns.image))
            draft = ParsedExample({}, "", self._table.name, row.number)
            if path is not None and not problem:
                problem = add_target(
                    draft, row.cells, self._columns, self._target, self._limits.name_characters, self._reading
                )
                draft.split = draft.split or self._splits.get(path, "")
            if path is not None and not problem:
                cells, problem = self._row.read(row.cells)
                if self._row.columns:
                    draft.values["row"] = cells
            if path is not None and not problem:
                if path not in checked:
                    checked[path] = check(self._files, path, self._kind, self._limits)
                digest, wrong = checked[path]
                problem = f"{shown(str(path))} {wrong}" if wrong else ""
                draft.digest = digest_of(digest, repr(draft.values.get("row")))
                draft.values["file"] = str(path)
            if problem:
                skip(self._table.name, row.number, problem)
            else:
                yield draft
        if unnamed := self._named.unnamed():
            for path in unnamed:
                skip(str(path), 0, f"no row of {shown(self._table.name)} names it", example=False)
            more = f" and {len(unnamed) - 1} more" if len(unnamed) > 1 else ""
            warn(f"no row of {shown(self._table.name)} names {shown(str(unnamed[0]))}{more}")
        for sentence in self._row.remarks():
            warn(sentence)

    def _find(self, cell: Cell) -> tuple[PurePosixPath | None, str]:
        if isinstance(cell, str) and cell.strip():
            return self._named.find(cell)
        if isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < MOST_ID and cell == int(cell):
            return self._named.find(str(int(cell)))  # ids in JSON and Parquet
        return None, f"{shown(self._columns.image)} names no file"
