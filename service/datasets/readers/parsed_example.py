"""What a reader makes of a user's data, example by example, before it is written down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from service.datasets.dataset import ColumnInfo, Columns, DatasetKind


class TargetKind(Enum):
    """What is to be learned."""

    CLASS = "class"
    NUMBER = "number"
    NONE = "none"
    """Series and plain text are their own targets."""


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
    split: str = ""
    pieces: int = 1
    """Rows, lines or files that it was made of."""


class Skip(Protocol):
    """Tells that (file, row) was left out, and why."""

    def __call__(self, file: str, row: int, reason: str, count: int = 1, /, *, example: bool = True) -> None:
        """`count`: rows, lines or files that go with it; `example`: whether it could have been one, and is no by-product."""


Warn = Callable[[str], None]


@dataclass(slots=True)
class ReaderSchema:
    """What a reader knows of its data once it has gone through them."""

    kind: DatasetKind
    columns: Columns
    target: TargetKind
    inputs: tuple[ColumnInfo, ...] = ()
    channels: int = 1
    row_columns: tuple[tuple[str, str], ...] = field(default=())
    """Name and kind (`number`, `category`) of the cells of each row; known before the first example."""


class Reader(Protocol):
    """Goes through a user's data once, from front to back, in bounded memory."""

    def schema(self) -> ReaderSchema:
        """Complete after `examples` has ended; kind, target and `row_columns` before."""

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """The examples in their order. Raises InvalidInput where nothing at all can be made of the data."""

    def input_count(self) -> int:
        """Rows, lines and files that came in, once `examples` has ended: each is in an example, or was skipped."""


def digest_of(*parts: bytes | str) -> str:
    """Equal for equal parts; 32 hex digits."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()[:32]
