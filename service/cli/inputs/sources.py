"""What stands on the command line of `zoo predict`, as inputs of the SDK with names for people."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from service.cli.inputs.known_columns import Known, Unreadable

if TYPE_CHECKING:
    from service.client import ModelInfo

PICTURES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
TEXTS = frozenset({".txt", ".text", ".md"})
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_KINDS = {
    "image": PICTURES,
    "audio": frozenset({".wav", ".flac", ".ogg", ".oga", ".opus"}),
    "text": TEXTS,
}
"""Endings of the files that a folder is searched for. A file that is named itself may have any."""
_NAMES = TABLES | TEXTS | {".json", ".pdf", ".html", ".log", ".rst", *ARCHIVES, *PICTURES, *_KINDS["audio"]}
"""Endings by which a word is taken for the name of a file, where there is none."""
STDIN = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """One input: how to call it, and what to send; or why there is nothing to send."""

    name: str
    value: Any = b""
    problem: str = ""


def sources(arguments: Iterable[str], model: ModelInfo, version: str = "", text_column: str = "") -> Iterator[Source]:
    """Inputs for a model, or a version of it, in the order they were given; files of a folder by name.

    For a text model an argument is a text unless it names a file or folder (see `texts.py`), and `-` stands for the lines of
    stdin, read as they come. For one of rows, series or records see `tables.py`. For others an argument is a file, a folder or an
    archive of files, and `-` is one encoded file on stdin.
    """
    from service.cli.inputs.tables import structured
    from service.cli.inputs.texts import of_text_model

    raw_input, known = model.raw_input, Known(model, version)
    for argument in arguments:
        try:
            if not argument.strip() and raw_input != "text":  # as a path it would be the current folder
                raise Unreadable("is empty; give a file, a folder or what the model is to read")
            if raw_input == "text":
                yield from _lines() if argument == STDIN else of_text_model(argument, known, text_column)
            elif raw_input in ("row", "series", "record"):
                yield from structured(argument, raw_input, known)
            elif argument == STDIN:
                yield Source(STDIN, sys.stdin.buffer.read())
            else:
                yield from of_files(argument, raw_input)
        except Unreadable as error:
            yield Source(argument, problem=str(error))


def of_files(argument: str, raw_input: str) -> Iterator[Source]:
    """The files that an argument names. Raises Unreadable where it names none."""
    path = Path(argument)
    found = what_is(argument)
    if found == "folder":
        yield from folder_of(path, raw_input, str(path))
    elif found == "file" and path.name.lower().endswith(ARCHIVES) and raw_input in _KINDS:
        yield from folder_of(unpacked(path), raw_input, str(path))
    else:
        if not found and "://" in argument:
            raise Unreadable("is a URL; download it, and give the file")
        yield Source(argument, path)


def what_is(argument: str) -> str:
    """`file` or `folder` where an argument names one, else empty. Raises Unreadable for what no file may be called."""
    try:
        mode = Path(argument).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except ValueError:
        raise Unreadable("holds a NUL character, which no name of a file does") from None
    except OSError as error:
        if len(os.fsencode(argument)) > 255:
            raise Unreadable(
                "is no file, and too long for the name of one; give the name of a file, and not what it holds"
            ) from None
        raise Unreadable((error.strerror or type(error).__name__).lower()) from None
    return "folder" if stat.S_ISDIR(mode) else "file"


def is_named_as_file(argument: str) -> bool:
    """Whether a word has the form of a path: without a space, and with a known ending or a folder before it."""
    if not argument or any(map(str.isspace, argument)):
        return False
    return Path(argument).suffix.lower() in _NAMES or argument.startswith(("/", "./", "../", "~/"))


def unpacked(archive: Path) -> Path:
    """The files of an archive, in a folder that is there until the process ends. Raises Unreadable."""
    from service.datasets.dataset_limits import DatasetLimits
    from service.datasets.upload.archives import extract
    from service.errors import InvalidInput

    folder = TemporaryDirectory(prefix="zoo-", ignore_cleanup_errors=True)
    form = "zip" if archive.name.lower().endswith(".zip") else "tar"
    try:
        extract(archive, form, Path(folder.name), DatasetLimits())
    except InvalidInput as error:
        raise Unreadable(error.problem) from None
    except OSError as error:
        raise Unreadable((error.strerror or type(error).__name__).lower()) from None
    _unpacked.append(folder)  # its files are read when they are sent
    return Path(folder.name)


_unpacked: list[TemporaryDirectory[str]] = []


def _lines() -> Iterator[Source]:
    for line in sys.stdin.buffer:
        raw = line.rstrip(b"\r\n")
        if raw:  # bytes, not str: if they are no UTF-8, that line alone fails
            yield Source(raw.decode(errors="backslashreplace"), raw)


def folder_of(folder: Path, raw_input: str, called: str) -> Iterator[Source]:
    """The files of a kind in a folder that people know by the name `called`. Raises Unreadable where there are none."""
    endings, found = _KINDS.get(raw_input, frozenset()), False
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in endings:
                found = True
                path = Path(at) / name
                yield Source(str(Path(called) / path.relative_to(folder)), path)
    if not found:
        kind = raw_input if raw_input in _KINDS else "such"
        raise Unreadable(f"the folder holds no {kind} files ({' '.join(sorted(endings))})")
