"""What an archive held beside that of which examples are made: nothing that came in is lost without a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from service.datasets.dataset import Skipped
from service.datasets.formatting import quoted_list
from service.datasets.readers.media.archive_files import unused_files_warning
from service.datasets.readers.parsed_example import (
    ParsedExample,
    Reader,
    ReaderSchema,
    Skip,
    Warn,
)

MAX_NAMES = 100
SYSTEM_FILE_REASON = "is hidden, or left by an operating system"


class SystemFiles:
    """Files that were not even unpacked: the first by name, all by number."""

    def __init__(self, left_out: Sequence[Skipped] = ()) -> None:
        """`left_out` have reasons of their own."""
        self._left_out = left_out
        self._count = 0
        self._names: list[str] = []

    @property
    def count(self) -> int:
        """All of them."""
        return self._count + len(self._left_out)

    def add(self, name: str) -> None:
        """One more that a system left behind."""
        self._count += 1
        if len(self._names) < MAX_NAMES:
            self._names.append(name)

    def tell(self, skip: Skip) -> None:
        """Skips each."""
        for one in self._left_out:
            skip(one.file, 0, one.reason, example=False)
        for name in self._names:
            skip(name, 0, SYSTEM_FILE_REASON, example=False)
        if rest := self._count - len(self._names):
            skip("", 0, SYSTEM_FILE_REASON, rest, example=False)


class ArchiveReader:
    """A reader (the protocol `Reader`), and behind its examples the files that it does not look at."""

    def __init__(
        self,
        reader: Reader,
        what: str,
        passed: Sequence[tuple[PurePosixPath, str]],
        litter: SystemFiles,
        empty: Sequence[PurePosixPath] = (),
    ) -> None:
        """`what` it is made of, such as `picture`; `passed`: files that it passes over, each with its own reason or none;
        `empty`: folders.
        """
        self._reader = reader
        self._what = what
        self._passed = passed
        self._litter = litter
        self._empty = empty

    def schema(self) -> ReaderSchema:
        """See `Reader`."""
        return self._reader.schema()

    def input_count(self) -> int:
        """See `Reader`."""
        return self._reader.input_count() + len(self._passed) + self._litter.count

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """See `Reader`."""
        yield from self._reader.examples(skip, warn)
        for path, reason in self._passed:
            skip(str(path), 0, reason or f"is no {self._what} ({path.suffix.lower() or 'no ending'})", example=False)
        if others := [path for path, reason in self._passed if not reason]:
            warn(unused_files_warning(others, self._what))
        if self._empty:
            warn(f"nothing lies in {quoted_list([str(path) for path in self._empty])}")
        self._litter.tell(skip)
