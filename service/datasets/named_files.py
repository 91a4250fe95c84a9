"""Finds the files that the cells of a table name."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from service.datasets.words import shown


class NamedFiles:
    """Files of an archive, found by the path below the table's folder, below the archive's, or by the name alone.

    Letters are compared composed: macOS writes `é` in names as two, and tables have one. Where no file is written so, the case of
    letters does not count. A way that leads to several files leads to none.
    """

    def __init__(self, paths: Sequence[PurePosixPath], beside: PurePosixPath) -> None:
        """`beside` is the folder of the table."""
        self._beside = beside
        self._paths = tuple(paths)
        self._met: set[PurePosixPath] = set()
        self._exact = {str(path): path for path in paths}
        self._composed = _by(paths, lambda path: _composed(str(path)))
        self._folded = _by(paths, lambda path: _folded(str(path)))
        self._names = _by(paths, lambda path: _composed(path.name))
        self._folded_names = _by(paths, lambda path: _folded(path.name))

    def find(self, cell: str) -> tuple[PurePosixPath | None, str]:
        """(file, "") that a cell names, or (None, why there is none). The file counts as named, whatever becomes of its row."""
        named = PurePosixPath(cell.strip().replace("\\", "/"))
        if named.is_absolute() or ".." in named.parts:
            return None, f"{shown(cell)} leads out of the archive"
        wanted = [str(self._beside / named), str(named)]
        for path in wanted:
            if path in self._exact:
                return self._found(self._exact[path])
        ways = [
            (self._composed, [_composed(path) for path in wanted]),
            (self._folded, [_folded(path) for path in wanted]),
        ]
        ways += [(self._names, [_composed(named.name)]), (self._folded_names, [_folded(named.name)])]
        several = False
        for index, keys in ways:
            for key in keys:
                found = index.get(key, [])
                if len(found) == 1:
                    return self._found(found[0])
                several = several or len(found) > 1
        if several:
            return None, f"there are several files called {shown(named.name)}"
        return None, f"there is no file {shown(cell)}"

    def unnamed(self) -> list[PurePosixPath]:
        """Files that no cell has named so far."""
        return [path for path in self._paths if path not in self._met]

    def _found(self, path: PurePosixPath) -> tuple[PurePosixPath, str]:
        self._met.add(path)
        return path, ""


def _by(paths: Sequence[PurePosixPath], key: Callable[[PurePosixPath], str]) -> dict[str, list[PurePosixPath]]:
    found: dict[str, list[PurePosixPath]] = {}
    for path in paths:
        found.setdefault(key(path), []).append(path)
    return found


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())
