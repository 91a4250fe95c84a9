"""Pictures and sounds: a folder for each class, or a table that names the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from service.datasets.cells import Reading
from service.datasets.dataset import Columns, DatasetKind
from service.datasets.draft import Draft, Shape, Skip, Target, Warn, digest_of
from service.datasets.folders import Files, places
from service.datasets.inspection import Summary
from service.datasets.limits import Limits
from service.datasets.media import check_picture, check_sound
from service.datasets.rows import RowColumns
from service.datasets.tables import Cell, Table
from service.datasets.targets import AS_WRITTEN, add_target, read_folder
from service.datasets.words import counted, shown
from service.errors import InvalidInput


def check(files: Files, path: PurePosixPath, kind: DatasetKind, limits: Limits) -> tuple[str, str]:
    """(digest, "") of a picture or sound, or ("", what is wrong with it)."""
    file = files.root / path
    problem = check_sound(file, limits) if kind is DatasetKind.AUDIO_FOLDER else check_picture(file, limits)
    return ("", problem) if problem else (digest_of(file.read_bytes()), "")


class MediaFolders:
    """`class/file`, or `train/class/file`."""

    def __init__(self, files: Files, kind: DatasetKind, limits: Limits) -> None:
        self._files = files
        self._kind = kind
        self._limits = limits

    def shape(self) -> Shape:
        """All known from the start."""
        return Shape(self._kind, Columns(), Target.CLASS)

    def drafts(self, skip: Skip, warn: Warn) -> Iterator[Draft]:
        """One for each file, in the order of their paths."""
        sounds = self._kind is DatasetKind.AUDIO_FOLDER
        paths = self._files.sounds if sounds else self._files.pictures
        others = len(self._files) - len(paths)
        if others:
            warn(f"passed over {counted(others, 'file')} without a {'sound' if sounds else 'picture'}")
        for path, place in zip(paths, places(paths), strict=True):
            label, problem = read_folder(place.label, self._limits.name_characters)
            if not place.label:
                problem = "lies in no folder, so its class is not known"
            digest = ""
            if not problem:
                digest, problem = check(self._files, path, self._kind, self._limits)
            if problem:
                skip(str(path), 0, problem)
            else:
                yield Draft({"file": str(path)}, digest, str(path), label=label, split=place.split)


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
        limits: Limits,
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
        self._paths = frozenset(paths)
        self._by_name: dict[str, list[PurePosixPath]] = {}
        for path in paths:
            self._by_name.setdefault(path.name, []).append(path)

    def shape(self) -> Shape:
        """Categories of the rows are complete once the drafts have ended."""
        return Shape(self._kind, self._columns, self._target, self._row.inputs(), row_columns=self._row.columns)

    def drafts(self, skip: Skip, warn: Warn) -> Iterator[Draft]:
        """One for each row whose file is there and can be read."""
        for sentence in self._row.warnings:
            warn(sentence)
        checked: dict[PurePosixPath, tuple[str, str]] = {}
        for row in self._table.rows(warn):
            problem, path = row.problem, None
            if not problem:
                path, problem = self._find(row.cells.get(self._columns.image))
            draft = Draft({}, "", self._table.name, row.number)
            if path is not None and not problem:
                problem = add_target(
                    draft, row.cells, self._columns, self._target, self._limits.name_characters, self._reading
                )
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

    def _find(self, cell: Cell) -> tuple[PurePosixPath | None, str]:
        """The file that a cell names: below the table's folder, the archive's, or by its name alone where that is unique."""
        if not isinstance(cell, str) or not cell.strip():
            return None, f"{shown(self._columns.image)} names no file"
        named = PurePosixPath(cell.strip().replace("\\", "/"))
        if named.is_absolute() or ".." in named.parts:
            return None, f"{shown(cell)} leads out of the archive"
        for path in (PurePosixPath(self._table.name).parent / named, named):
            if path in self._paths:
                return path, ""
        same = self._by_name.get(named.name, [])
        if len(same) == 1:
            return same[0], ""
        return (
            None,
            f"there are several files called {shown(named.name)}" if same else f"there is no file {shown(cell)}",
        )


def nothing_found(what: str) -> InvalidInput:
    """The error for an archive that holds nothing of what was asked for."""
    return InvalidInput("data", f"the archive holds no {what}")
