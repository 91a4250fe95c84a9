"""Finds the files that the cells of a table name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from service.datasets.formatting import quoted

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|file:", re.IGNORECASE)


class NamedFiles:
    """Finds files of an archive: by the path below the table's folder, by the path below the archive's root, by the name, or by
    the name without its suffix, as in tables of ids. Of absolute paths and URLs, the end is compared; only files of the archive
    are opened.

    Letters are compared composed: macOS writes `é` in names of files as two characters, tables have one. If no file has the
    exact name, the case of letters is ignored. A rule that finds several files finds none.
    """

    def __init__(self, paths: Sequence[PurePosixPath], beside: PurePosixPath) -> None:
        """`beside`: the folder of the table."""
        self._beside = beside
        self._paths = tuple(paths)
        self._met: set[PurePosixPath] = set()
        self._exact = {str(path): path for path in paths}
        self._exact_lists = {str(path): [path] for path in paths}
        self._composed = _by(paths, lambda path: _composed(str(path)))
        self._folded = _by(paths, lambda path: _folded(str(path)))
        self._names = _by(paths, lambda path: _composed(path.name))
        self._folded_names = _by(paths, lambda path: _folded(path.name))
        self._ids = _by(paths, lambda path: _composed(str(path.with_suffix(""))))
        self._name_ids = _by(paths, lambda path: _composed(path.stem))

    def find(self, cell: str) -> tuple[PurePosixPath | None, str]:
        """(file, "") that a cell names, or (None, why there is none). The file counts as named even if its row is skipped."""
        named = PurePosixPath(cell.strip().replace("\\", "/"))
        wanted = [str(self._beside / named), str(named)]
        inside = not (named.is_absolute() or ".." in named.parts)
        for path in wanted if inside else ():
            if path in self._exact:
                return self._found(self._exact[path])
        several = False
        for index, keys in self._ways(wanted if inside else [], cell):
            for key in keys:
                found = index.get(key, [])
                if len(found) == 1:
                    return self._found(found[0])
                several = several or len(found) > 1
            if several:
                break  # a looser rule would only find others
        if several:
            return None, f"there are several files called {quoted(named.name)}"
        if not inside:
            return None, f"{quoted(cell)} leads out of the archive, and no file in it has this name"
        return None, f"there is no file {quoted(cell)}"

    def _ways(self, wanted: Sequence[str], cell: str) -> Iterator[tuple[dict[str, list[PurePosixPath]], list[str]]]:
        """(files by key, keys to look up), the strictest rule first."""
        yield self._composed, [_composed(path) for path in wanted]
        yield self._folded, [_folded(path) for path in wanted]
        parts = _parts_inside(cell.strip().replace("\\", "/"))
        ends = ["/".join(parts[i:]) for i in range(len(parts) - 1)]
        ends = [str(self._beside / end) for end in ends] + ends
        if ends:  # `/home/me/data/cat/1.jpg`: a path in the archive may be the end of a path on a disk
            yield self._exact_lists, ends
        name = parts[-1] if parts else ""
        yield self._names, [_composed(name)]
        yield self._folded_names, [_folded(name)]
        yield self._ids, [_composed(path) for path in (*wanted, *ends)]
        yield self._name_ids, [_composed(name)]

    def unnamed(self) -> list[PurePosixPath]:
        """Files that no cell has named so far."""
        return [path for path in self._paths if path not in self._met]

    def _found(self, path: PurePosixPath) -> tuple[PurePosixPath, str]:
        self._met.add(path)
        return path, ""


def file_name_in(cell: str) -> str:
    """The name at the end of a path, or of a URL without its query."""
    parts = _parts_inside(cell.strip().replace("\\", "/"))
    return parts[-1] if parts else ""


def _parts_inside(path: str) -> tuple[str, ...]:
    """The parts of a path that may exist in an archive: those after the drive, the host, or the last `..`."""
    if _ADDRESS.match(path):
        address = urlsplit(path) if "[" not in path and "]" not in path else None
        path = unquote(address.path) if address else path
    elif path[1:2] == ":":
        path = path[2:]
    parts = tuple(part for part in path.split("/") if part and part != ".")
    last = max((i for i, part in enumerate(parts) if part == ".."), default=-1)
    return parts[last + 1 :]


def _by(paths: Sequence[PurePosixPath], key: Callable[[PurePosixPath], str]) -> dict[str, list[PurePosixPath]]:
    found: dict[str, list[PurePosixPath]] = {}
    for path in paths:
        found.setdefault(key(path), []).append(path)
    return found


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())
