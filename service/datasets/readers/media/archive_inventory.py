"""Reports the files of an archive that no example uses, so that every input is accounted for."""

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
SYSTEM_FILE_REASON = "is hidden, or was added by an operating system"


class SystemFiles:
    """Files that were not extracted: the first ones by name, all by number."""

    def __init__(self, left_out: Sequence[Skipped] = ()) -> None:
        """`left_out` have reasons of their own."""
        self._left_out = left_out
        self._count = 0
        self._names: list[str] = []

    @property
    def count(self) -> int:
        """The number of all such files."""
        return self._count + len(self._left_out)

    def add(self, name: str) -> None:
        """Add a file of an operating system."""
        self._count += 1
        if len(self._names) < MAX_NAMES:
            self._names.append(name)

    def tell(self, skip: Skip) -> None:
        """Call `skip` for each file."""
        for one in self._left_out:
            skip(one.file, 0, one.reason, example=False)
        for name in self._names:
            skip(name, 0, SYSTEM_FILE_REASON, example=False)
        if rest := self._count - len(self._names):
            skip("", 0, SYSTEM_FILE_REASON, rest, example=False)


class ArchiveReader:
    """A reader (the protocol `Reader`) that also reports the files which another reader does not use."""

    def __init__(
        self,
        reader: Reader,
        what: str,
        unused: Sequence[tuple[PurePosixPath, str]],
        system_files: SystemFiles,
        empty: Sequence[PurePosixPath] = (),
    ) -> None:
        """`what`: what an example is made of, such as `picture`; `passed`: unused files, each with its own reason or an empty
        one;
        `empty`: folders without files.
        """
        self._reader = reader
        self._what = what
        self._unused = unused
        self._system_files = system_files
        self._empty = empty

    def schema(self) -> ReaderSchema:
        """See `Reader`."""
        return self._reader.schema()

    def input_count(self) -> int:
        """See `Reader`."""
        return self._reader.input_count() + len(self._unused) + self._system_files.count

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """Those of the other reader; then reports the unused files."""
        yield from self._reader.examples(skip, warn)
        for path, reason in self._unused:
            skip(str(path), 0, reason or f"is no {self._what} ({path.suffix.lower() or 'no ending'})", example=False)
        if others := [path for path, reason in self._unused if not reason]:
            warn(unused_files_warning(others, self._what))
        if self._empty:
            warn(f"nothing is in folder {quoted_list([str(path) for path in self._empty])}")
        self._system_files.tell(skip)
