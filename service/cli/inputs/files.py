"""Files of the command line, opened: what is wrong with one becomes a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.inputs.known_columns import Unreadable

if TYPE_CHECKING:
    from service.datasets.readers.tables.table import Table


@contextmanager
def opened(path: Path, name: str) -> Iterator[Table]:
    """A table; inside, too, what is wrong with the file becomes Unreadable."""
    from service.datasets.dataset_limits import DatasetLimits
    from service.datasets.readers.tables.table import Table
    from service.errors import InvalidInput

    try:
        yield Table(path, Path(name).name, DatasetLimits())
    except InvalidInput as error:
        raise Unreadable(error.problem) from None
    except (OSError, ValueError) as error:
        raise Unreadable(of_system(error)) from None
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise Unreadable(
            "a Parquet file needs the package 'pyarrow', which the extra `server` of zoo-serving brings; or save it as CSV"
        ) from None


def content(path: Path) -> bytes:
    """The bytes of a file. Raises Unreadable."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise Unreadable(of_system(error)) from None


def of_system(error: OSError | ValueError) -> str:
    """Why the system gives no file of a name."""
    if not isinstance(error, OSError):
        return "no file has such a name"  # a NUL character in it
    return (error.strerror or type(error).__name__).lower()


@contextmanager
def opened_text(path: Path) -> Iterator[Any]:
    """A file as text, whatever its bytes are."""
    try:
        with path.open("rb") as file:
            wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
        with path.open(encoding="utf-16" if wide else "utf-8-sig", errors="replace") as text:
            yield text
    except (OSError, ValueError) as error:
        raise Unreadable(of_system(error)) from None
