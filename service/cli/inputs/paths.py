"""Arguments of `zoo predict` that name files, folders and archives."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from service.cli.inputs.files import describe_os_error
from service.cli.inputs.input_source import InputSource, UnreadableInput

PICTURES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp"})
TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"})
VOLUMES = frozenset({".nii", ".nii.gz"})
TEXTS = frozenset({".txt", ".text", ".md"})
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_SUFFIXES_BY_INPUT = {
    "image": PICTURES,
    "audio": frozenset({".wav", ".flac", ".ogg", ".oga", ".opus"}),
    "video": frozenset({".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts"}),
    "text": TEXTS,
    "volume": VOLUMES,
}
"""Suffixes of the files that a folder is searched for. A file that is named itself may have any."""
_KNOWN_SUFFIXES = (
    TABLES
    | TEXTS
    | {".json", ".pdf", ".html", ".log", ".rst", *ARCHIVES, *PICTURES}
    | _SUFFIXES_BY_INPUT["audio"]
    | _SUFFIXES_BY_INPUT["video"]
)
"""A word with one of these suffixes is taken for the name of a file, even if no such file exists."""
_LONGEST_FILE_NAME = 255
"""Bytes of the name of a file, on the file systems in use."""


def file_sources(argument: str, raw_input: str) -> Iterator[InputSource]:
    """The files that an argument names. Raises UnreadableInput if it names none."""
    path = Path(argument)
    found = path_type(argument)
    if found == "folder":
        yield from folder_sources(path, raw_input, str(path))
    elif found == "file" and path.name.lower().endswith(ARCHIVES) and raw_input in _SUFFIXES_BY_INPUT:
        yield from folder_sources(extract_archive(path), raw_input, str(path))
    else:
        if not found:
            refuse_url(argument)
            if raw_input in _SUFFIXES_BY_INPUT:
                kind = {"image": "pictures", "video": "videos", "volume": "volumes (.nii, .nii.gz)"}.get(
                    raw_input, "recordings"
                )
                raise UnreadableInput(f"no such file or directory, and the model takes files of {kind}")
        yield InputSource(argument, path)


def folder_sources(folder: Path, raw_input: str, display_name: str) -> Iterator[InputSource]:
    """The files in a folder that suit the kind of input, in order of name. Raises UnreadableInput if there are none.

    `display_name`: the folder's name for people, which differs from `folder` where an archive was extracted.
    """
    suffixes, found = _SUFFIXES_BY_INPUT.get(raw_input, frozenset()), False
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(tuple(suffixes)):
                found = True
                path = Path(parent) / name
                place = path.relative_to(folder)
                below = "" if place.parent == Path() else str(place.parent)
                yield InputSource(str(Path(display_name) / place), path, folder=below)
    if not found:
        kind = raw_input if raw_input in _SUFFIXES_BY_INPUT else "such"
        raise UnreadableInput(f"the folder holds no {kind} files ({' '.join(sorted(suffixes))})")


def path_type(argument: str) -> str:
    """`file` or `folder` if the argument names one, else empty. Raises UnreadableInput for a name that no file can have."""
    try:
        mode = Path(argument).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except ValueError:
        raise UnreadableInput("holds a NUL character, which the name of a file cannot hold") from None
    except OSError as error:
        if len(os.fsencode(argument)) > _LONGEST_FILE_NAME:
            raise UnreadableInput(
                "is no file, and is too long for the name of one; give the name of a file instead of its content"
            ) from None
        raise UnreadableInput(describe_os_error(error)) from None
    return "folder" if stat.S_ISDIR(mode) else "file"


def looks_like_path(argument: str) -> bool:
    """Whether a word has the form of a path: no space in it, and a known suffix or a folder before it."""
    if not argument or any(map(str.isspace, argument)):
        return False
    return Path(argument).suffix.lower() in _KNOWN_SUFFIXES or argument.startswith(("/", "./", "../", "~/"))


def refuse_url(argument: str) -> None:
    """Raises UnreadableInput for a URL: inputs are read from this machine."""
    if "://" in argument:
        raise UnreadableInput("is a URL; download it, and give the file")


def extract_archive(archive: Path) -> Path:
    """Extracts an archive into a temporary folder that exists until the process ends. Raises UnreadableInput."""
    from service.datasets.dataset_limits import DatasetLimits
    from service.datasets.upload.archives import extract
    from service.errors import InvalidInput

    folder = TemporaryDirectory(prefix="zoo-", ignore_cleanup_errors=True)
    archive_format = "zip" if archive.name.lower().endswith(".zip") else "tar"
    try:
        extract(archive, archive_format, Path(folder.name), DatasetLimits())
    except InvalidInput as error:
        raise UnreadableInput(error.problem) from None
    except OSError as error:
        raise UnreadableInput(describe_os_error(error)) from None
    _extracted.append(folder)
    return Path(folder.name)


_extracted: list[TemporaryDirectory[str]] = []
"""Keeps the folders: their files are read only when they are sent."""
