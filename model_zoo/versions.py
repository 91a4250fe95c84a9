"""Fine-tuned versions on disk. A job publishes a version; nothing changes it afterwards.

::

    ZOO_HOME/versions/<model>/<number>/  the files of one version; see ``model_zoo/version_folder.py``
    ZOO_HOME/versions/<model>/.last      the greatest number that was ever given
    ZOO_HOME/versions/<model>/.checks-<n>.json   see ``model_zoo/version_checks.py``

Invariants. A folder appears under its number by rename, complete, and is never edited. A number is given once: a new version
never takes the number of a deleted one. Hence a reader needs no lock; publishing holds one lock per model, across processes.
"""

import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.errors import StoreUnusable, UnknownVersion, VersionDamaged
from model_zoo.locking import exclusive_lock
from model_zoo.materialised import Materialised
from model_zoo.version_checks import VersionChecks
from model_zoo.version_folder import LINEAGE, MANIFEST, REPORT, Version, VersionFolder, is_model_name

__all__ = ["Versions"]

_LAST, _DELETED = ".last", ".deleted-"


class Versions:
    """The fine-tuned versions under one home. Threads and processes may share a home."""

    def __init__(self, home: Path) -> None:
        """Remember where home is; nothing is created before it is needed."""
        self.home = home
        self._folder = home / "versions"
        self._checks = VersionChecks(home)

    # ── reading ───────────────────────────────────────────────────────────────────────────────────────────────

    def models(self) -> list[str]:
        """Names of the models that have a version, sorted."""
        return sorted(
            path.name for path in _children(self._folder) if is_model_name(path.name) and self.numbers(path.name)
        )

    def numbers(self, model: str) -> list[int]:
        """Numbers of a model's versions, ascending; empty for an unknown model and for a text that is not a name."""
        if not is_model_name(model):
            return []
        names = [path.name for path in _children(self._folder / model) if (path / MANIFEST).is_file()]
        return sorted(int(name) for name in names if _is_number(name))

    def listing(self) -> dict[str, set[int]]:
        """The numbers of all models' versions, from the names of their folders alone: cheap enough to call again and again.

        Raises:
            StoreUnusable: the folder exists and cannot be read. The caller must not take its versions for deleted.
        """
        found: dict[str, set[int]] = {}
        try:
            models = (
                [path for path in self._folder.iterdir() if is_model_name(path.name)] if self._folder.exists() else []
            )
            for path in models:
                with suppress(FileNotFoundError, NotADirectoryError):
                    found[path.name] = {int(entry.name) for entry in os.scandir(path) if _is_number(entry.name)}
        except OSError as error:
            raise _unusable(error) from error
        return found

    def has(self, model: str, number: int) -> bool:
        """Whether there is such a version now."""
        return is_model_name(model) and (self._folder / model / str(number) / MANIFEST).is_file()

    def open(self, model: str, number: int) -> Version:
        """One version. Sizes are compared with the manifest; contents are not read (see ``verify``).

        Raises:
            UnknownVersion: there is none of that name and number.
            VersionDamaged: a file is not as the manifest says, or the card does not validate.
            VersionTooNew: a newer Zoo published it, and its card has what this Zoo does not know.
        """
        return self._version(model, number).read()

    def find(self, card: Card) -> Materialised | None:
        """The files of the version that has this card; None if there is no such version.

        Equal weights alone do not make the same version: the labels may differ, or the folder may be deleted.
        """
        if not isinstance(card.source, TunedSource) or "weights" not in card.source.files:
            return None
        wanted = card.source.files["weights"].sha256
        for number in reversed(self.numbers(card.name)):
            try:
                version = self._version(card.name, number)
                files, _ = version.files()
                if files.digest == wanted and version.card() == card:
                    return files
            except (UnknownVersion, VersionDamaged, OSError, ValueError):
                continue
        return None

    def published_by(self, model: str, job_id: str) -> int | None:
        """The version that a job has published; it tells a restarted supervisor the number that was not recorded."""
        for number in reversed(self.numbers(model)):
            if self._version(model, number).published_by() == job_id:
                return number
        return None

    def lineage(self, model: str, number: int) -> Mapping[str, Any]:
        """The origin of a version. Raises UnknownVersion; VersionDamaged if it cannot be read."""
        return self._version(model, number).document(LINEAGE)

    def report(self, model: str, number: int) -> tuple[Mapping[str, Any], bytes]:
        """The results of a version on held-out data, as a document and as an HTML page (UTF-8; empty if there is none).

        Raises UnknownVersion; VersionDamaged if it cannot be read.
        """
        version = self._version(model, number)
        return version.document(REPORT), version.page()

    def verify(self, model: str, number: int) -> None:
        """Read every file and compare it with the sha256 of the manifest. Nothing is removed: no source has the files again.

        Raises:
            UnknownVersion: there is no such version.
            VersionDamaged: a file has changed, or is missing.
        """
        self._version(model, number).verify()

    # ── publishing and deleting ───────────────────────────────────────────────────────────────────────────────

    def publish(self, model: str, folder: Path) -> int:
        """Make a complete version folder the model's next version, and return its number. The folder is moved.

        Concurrent callers, in any process, get different numbers.

        Raises:
            VersionDamaged: the folder is not a complete version of this model; the error has the number 0.
            StoreUnusable: home cannot be written, or the disk is full.
        """
        if not is_model_name(model):
            raise VersionDamaged(model[:64], 0, "a model's name has lower-case letters, digits and '_' only")
        VersionFolder(model, 0, folder).check_complete()
        home = self._folder / model
        try:
            with exclusive_lock(home / ".lock"):
                number = 1 + max([self._last(model), *self.numbers(model)])
                while (home / str(number)).exists():  # damaged, so not counted; never overwritten
                    number += 1
                self._write_last(model, number)
                folder.rename(home / str(number))
                _flush_folder(home)
        except OSError as error:
            raise _unusable(error) from error
        return number

    def withdraw(self, model: str, number: int) -> tuple[Path, int]:
        """Take a version away by a rename: readers no longer find it, and its number is not given again.

        Damaged versions are withdrawn too. Returns the folder that holds the files until `remove_withdrawn` is called, and the
        bytes of the files.

        Raises:
            UnknownVersion: there is no such version.
            StoreUnusable: it cannot be taken away.
        """
        folder = self._path_of(model, number)
        withdrawn = folder.with_name(f"{_DELETED}{number}-{uuid.uuid4().hex[:8]}")
        try:
            _, freed = self.changed_and_size(model, number)
            with exclusive_lock(folder.parent / ".lock"):
                last = max([self._last(model), *self.numbers(model)])
                self._write_last(model, last)
                folder.rename(withdrawn)
                self._checks.remove(model, number)
                _flush_folder(folder.parent)
        except FileNotFoundError as error:  # another caller has withdrawn it first
            raise UnknownVersion(model, number) from error
        except OSError as error:
            raise _unusable(error) from error
        return withdrawn, freed

    def restore(self, model: str, number: int, folder: Path) -> None:
        """Undo `withdraw`. Raises StoreUnusable."""
        try:
            folder.rename(self._folder / model / str(number))
        except OSError as error:
            raise _unusable(error) from error

    def remove_withdrawn(self) -> None:
        """Remove all withdrawn versions, also those of a process that ended early. Files that cannot be removed stay."""
        for model in _children(self._folder):
            for path in _children(model):
                if path.name.startswith(_DELETED):
                    _remove(path)

    def delete(self, model: str, number: int) -> int:
        """Remove a version and return the disk space that it took, in bytes. Raises as `withdraw`."""
        withdrawn, freed = self.withdraw(model, number)
        _remove(withdrawn)
        return freed

    def changed_and_size(self, model: str, number: int) -> tuple[float, int]:
        """The last change of a version's folder, whole or damaged, in seconds since 1970; and the bytes of its files.

        Raises:
            UnknownVersion: there is no such version.
        """
        path = self._path_of(model, number)
        size = 0
        with suppress(OSError):
            files = list(path.iterdir()) if path.is_dir() else [path]
            size = sum(file.lstat().st_size for file in files if file.is_file())
        try:
            return path.lstat().st_mtime, size
        except OSError:
            return 0.0, size

    # ── paths ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _path_of(self, model: str, number: int) -> Path:
        """The path of a version, which may be damaged. Raises UnknownVersion if nothing is there."""
        if not is_model_name(model) or number < 1:
            raise UnknownVersion(model[:64], number)
        path = self._folder / model / str(number)
        if not path.exists() and not path.is_symlink():
            raise UnknownVersion(model, number)
        return path

    def _version(self, model: str, number: int) -> VersionFolder:
        """The folder of a version. Raises UnknownVersion; VersionDamaged if it has no manifest."""
        path = self._path_of(model, number)
        if not path.is_dir():
            raise VersionDamaged(model, number, "something else is in the place of its folder")
        if not (path / MANIFEST).is_file():
            if not path.exists():  # deleted in this moment
                raise UnknownVersion(model, number)
            raise VersionDamaged(model, number, "its manifest is missing")
        return VersionFolder(model, number, path)

    def _write_last(self, model: str, number: int) -> None:
        """Written by rename: a crash or a full disk leaves the number that was there."""
        path = self._folder / model / _LAST
        if path.is_dir():  # not made by Zoo
            path.rename(path.with_name(f"{_DELETED}last-{uuid.uuid4().hex[:8]}"))
        path.with_name(f"{_LAST}.new").write_text(str(number))
        path.with_name(f"{_LAST}.new").replace(path)

    def _last(self, model: str) -> int:
        try:
            return int((self._folder / model / _LAST).read_text())
        except (OSError, ValueError):
            return 0


def _unusable(error: OSError) -> StoreUnusable:
    return StoreUnusable(error.strerror or type(error).__name__)


def _remove(path: Path) -> None:
    """Remove a folder, a file or a link. A path that cannot be removed stays."""
    shutil.rmtree(path, ignore_errors=True)  # does nothing to a file or a link
    with suppress(OSError):
        path.unlink()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and text == str(int(text)) and text != "0"


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _flush_folder(folder: Path) -> None:
    """Write a rename in the folder to disk, if the system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
