"""How a file of the command line is opened and decoded. Each problem of a file becomes a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.inputs.input_source import UnreadableInput

if TYPE_CHECKING:
    from service.datasets.readers.tables.table import Table


@contextmanager
def open_table(path: Path, name: str) -> Iterator[Table]:
    """A table. A problem of the file, here or while it is read in the block, becomes UnreadableInput."""
    from service.datasets.dataset_limits import DatasetLimits
    from service.datasets.readers.tables.table import Table
    from service.errors import InvalidInput

    try:
        yield Table(path, Path(name).name, DatasetLimits())
    except InvalidInput as error:
        raise UnreadableInput(error.problem) from None
    except (OSError, ValueError) as error:
        raise UnreadableInput(describe_os_error(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise UnreadableInput(
            "a Parquet file needs the package 'pyarrow', which the extra `server` of zoo-serving brings; or save it as CSV"
        ) from None


@contextmanager
def open_text(path: Path) -> Iterator[Any]:
    """A file as text; bytes that are not valid become U+FFFD. Raises UnreadableInput."""
    try:
        with path.open("rb") as file:
            encoding = "utf-16" if has_utf16_mark(file.read(2)) else "utf-8-sig"
        with path.open(encoding=encoding, errors="replace") as text:
            yield text
    except (OSError, ValueError) as error:
        raise UnreadableInput(describe_os_error(error)) from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a file. Raises UnreadableInput."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableInput(describe_os_error(error)) from None


def decode_utf8(data: bytes) -> str:
    """The text of UTF-8, with or without a byte order mark. Raises UnreadableInput."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableInput(f"expected UTF-8, got a byte that is not at position {error.start}") from None


def has_utf16_mark(data: bytes) -> bool:
    """Whether a file begins with the byte order mark of UTF-16."""
    return data[:2] in (b"\xff\xfe", b"\xfe\xff")


def describe_os_error(error: OSError | ValueError) -> str:
    """Why the operating system does not open a file."""
    if not isinstance(error, OSError):
        return "no file has such a name"  # the name holds a NUL character
    return (error.strerror or type(error).__name__).lower()
