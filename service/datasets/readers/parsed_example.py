"""The interface of readers: they parse a user's data into examples, which validation then writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from service.datasets.dataset import ColumnInfo, Columns, DatasetKind


class TargetKind(Enum):
    """The kind of target that is learned."""

    CLASS = "class"
    CLASSES = "classes"
    """Any number of classes."""
    NUMBER = "number"
    SPANS = "spans"
    """Labelled spans of a text."""
    BOXES = "boxes"
    """Boxes around the objects of a picture."""
    MASK = "mask"
    """A class for each pixel of a picture."""
    NONE = "none"
    """For series and plain text, which are their own targets."""


@dataclass(slots=True)
class ParsedExample:
    """One example that can be used."""

    values: dict[str, Any]
    """By column of the canonical table, see `canonical.py`."""
    digest: str
    file: str
    row: int = 0
    label: str | None = None
    number: float | None = None
    labels: tuple[str, ...] | None = None
    """The classes of an example that may have several, or the labels of its spans, boxes or pixels, sorted; None where it
    has one, or a number."""
    split: str = ""
    pieces: int = 1
    """Rows, lines or files of which the example is made."""


class Skip(Protocol):
    """Called for an input (file, row) that is left out, with the reason."""

    def __call__(self, file: str, row: int, reason: str, count: int = 1, /, *, example: bool = True) -> None:
        """`count`: rows, lines or files that are left out together; `example`: whether the input could have been an example."""


Warn = Callable[[str], None]


@dataclass(slots=True)
class ReaderSchema:
    """The kind, columns and target of the data that a reader has read."""

    kind: DatasetKind
    columns: Columns
    target: TargetKind
    inputs: tuple[ColumnInfo, ...] = ()
    channels: int = 1
    row_columns: tuple[tuple[str, str], ...] = field(default=())
    """Name and kind (`number`, `category`) of the cells of each row; known before the first example."""


class Reader(Protocol):
    """Reads a user's data once, from beginning to end, in bounded memory."""

    def schema(self) -> ReaderSchema:
        """Complete after the end of `examples`; kind, target and `row_columns` are known before."""

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """The examples in their order. Raises InvalidInput for data that are unusable as a whole."""

    def input_count(self) -> int:
        """Rows, lines and files that came in, after the end of `examples`: each is part of an example or was skipped."""


def digest_of(*parts: bytes | str) -> str:
    """A digest of 32 hex digits, equal for equal parts."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:32]
