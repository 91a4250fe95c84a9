"""Readers of texts: a table of texts, a folder of text files for each class, and plain text in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import counted, quoted
from service.datasets.readers.columns.cells import CellReading
from service.datasets.readers.columns.targets import AS_WRITTEN, add_target, read_class_folder
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.readers.media.folder_layout import read_layout
from service.datasets.readers.parsed_example import (
    ParsedExample,
    ReaderSchema,
    Skip,
    TargetKind,
    Warn,
    digest_of,
)
from service.datasets.readers.tables.table import Cell, Table

BLOCK = 4096
"""Characters of plain text in one example, plus at most one line."""


def text_digest(*texts: str) -> str:
    """Equal for texts, or pairs of them, that differ only in spaces and in the case of letters."""
    return digest_of(*(" ".join(text.split()).casefold() for text in texts))


class TextTableReader:
    """Reads a table with a column of texts, or with two of them."""

    def __init__(
        self,
        table: Table,
        columns: Columns,
        target: TargetKind,
        limits: DatasetLimits,
        reading: CellReading = AS_WRITTEN,
    ) -> None:
        """`reading`: how the cells of the target's column are read."""
        self._reading = reading
        self._table = table
        self._columns = columns
        self._target = target
        self._limits = limits
        self._text_columns = {"text": columns.text} | ({"text_pair": columns.text_pair} if columns.text_pair else {})

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(DatasetKind.TEXT, self._columns, self._target)

    def input_count(self) -> int:
        """See `Reader`."""
        return self._table.count

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each row, in order."""
        first_texts, repeated = set[str](), 0
        for row in self._table.rows(warn):
            texts = {role: row.cells.get(column) for role, column in self._text_columns.items()}
            example = ParsedExample({}, "", self._table.name, row.number)
            problem = row.problem
            for role, text in texts.items():
                if not problem and (not isinstance(text, str) or not text.strip()):
                    problem = _no_text(text, "second text" if role == "text_pair" else "text")
            if not problem:
                problem = add_target(
                    example, row.cells, self._columns, self._target, self._limits.name_characters, self._reading
                )
            if problem:
                skip(self._table.name, row.number, problem)
            else:
                example.values |= texts
                example.digest = text_digest(*map(str, texts.values()))
                if self._columns.text_pair:
                    first = text_digest(str(texts["text"]))
                    repeated += first in first_texts
                    first_texts.add(first)
                yield example
        if repeated and not self._columns.split:
            warn(
                f"{counted(repeated, 'pair')} with the first text of an earlier one: held-out pairs may share texts with the"
                " training data, and look better; a column `split` keeps them apart"
            )


def _no_text(cell: Cell, what: str) -> str:
    if isinstance(cell, list):
        return f"the {what} is a list or object"
    return f"the {what} is empty" if cell is None or isinstance(cell, str) else f"{quoted(cell)} is no text"


class TextFolderReader:
    """Reads `class/file.txt`, or `train/class/file.txt`."""

    def __init__(self, files: ArchiveFiles, limits: DatasetLimits) -> None:
        self._files = files
        self._limits = limits

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(DatasetKind.TEXT, Columns(), TargetKind.CLASS)

    def input_count(self) -> int:
        """See `Reader`."""
        return len(self._files.texts)

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each file, in the order of their paths."""
        found = read_layout(self._files.texts)
        if remark := found.remark():
            warn(remark)
        for path, folder in zip(self._files.texts, found.labels, strict=True):
            label, problem = read_class_folder(folder.label, self._limits.name_characters)
            if not folder.label:
                problem = folder.problem or "lies in no folder, so its class is not known"
            text = ""
            if not problem:
                text, problem = _read(self._files.root / path, self._limits)
            if problem:
                skip(str(path), 0, problem)
            else:
                yield ParsedExample({"text": text}, text_digest(text), str(path), label=label, split=folder.split)


def _read(path: Path, limits: DatasetLimits) -> tuple[str, str]:
    if path.stat().st_size > limits.text_bytes:
        return "", f"is larger than {limits.text_bytes} bytes"
    data = path.read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return "", "is not UTF-8 text"
    return (text, "") if text.strip() else ("", "is empty")


class PlainTextReader:
    """Reads text files one after another, cut at line ends into consecutive blocks; joined, they are the original text."""

    def __init__(self, root: Path, texts: Sequence[PurePosixPath], limits: DatasetLimits, name: str = "") -> None:
        """`name` is the name of a single file in reports; `texts` holds its name on this disk."""
        self._root = root
        self._texts = texts
        self._limits = limits
        self._name = name
        self._entered = 0

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(DatasetKind.PLAIN_TEXT, Columns(), TargetKind.NONE)

    def input_count(self) -> int:
        """Lines, see `Reader`."""
        return self._entered

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """The blocks in order; lines that are not UTF-8 are left out. `row` is a block's first line."""
        self._entered = 0
        for path in self._texts:
            yield from self._of_file(path, self._name or str(path), skip)

    def _of_file(self, path: PurePosixPath, name: str, skip: Skip) -> Iterator[ParsedExample]:
        block: list[str] = []
        size, first, lines = 0, 1, 0
        number, begins, named = 0, True, 0
        for piece in self._pieces(self._root / path):
            number += begins
            good = piece.isascii() or _decoded(piece)
            if (
                not good and named != number
            ):  # a very long line has several pieces, and counts once, with its first piece
                skip(name, number, "is not UTF-8 text", int(begins))
                named = number
            if good:
                if not block:
                    first = number
                block.append(piece)
                lines += begins
                size += len(piece)
            begins = piece.endswith("\n")
            if size >= BLOCK:
                yield _block(block, name, first, lines)
                block, size, lines = [], 0, 0
        self._entered += number
        if "".join(block).strip():
            yield _block(block, name, first, lines)
        elif lines:
            skip(name, first, "is blank to the end of the file", lines)

    def _pieces(self, path: Path) -> Iterator[str]:
        """Lines with their ends, long lines in several pieces. Lone surrogates stand for bytes that are not UTF-8."""
        with path.open("rb") as file:
            wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
        with path.open(
            encoding="utf-16" if wide else "utf-8-sig", errors="replace" if wide else "surrogateescape"
        ) as text:
            while piece := text.readline(BLOCK):
                yield piece


def _decoded(line: str) -> bool:
    return not any("\udc80" <= character <= "\udcff" for character in line)


def _block(pieces: Sequence[str], name: str, first: int, lines: int) -> ParsedExample:
    text = "".join(pieces)
    return ParsedExample({"text": text}, text_digest(text), name, first, pieces=lines)
