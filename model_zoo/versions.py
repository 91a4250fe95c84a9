"""Fine-tuned versions on disk: what a job has published, and nobody changes afterwards.

::

    ZOO_HOME/versions/<model>/<number>/
      card.json            a Card whose source is "tuned"
      model.safetensors    all weights (method full), or what the method adds to the base (head, lora)
      labels.txt           classes, one a line in the order of the logits
      golden.safetensors   a few held-out items and the outputs that the worker got
      held_out.safetensors which examples were held out, and the outputs that the worker got (model_zoo/golden/held_out.py)
      lineage.json         base, base_sha256, dataset_id, dataset_sha256, method, job_id, seed, hyperparameters, zoo_version,
                           task, metrics, baseline_metrics, rival, created (seconds since 1970), training_seconds
      report.json, report.html, curves.json
      manifest.json        of every file above its role, size and sha256; written last
    ZOO_HOME/versions/<model>/.last      the greatest number that was ever given
    ZOO_HOME/versions/<model>/.checks-<n>.json
                           what a server measured of version n on the tiers and precisions that it met; it may be removed

Invariants. A folder appears under its number by rename, complete, and is never edited. A number is given once: that of a
deleted version does not come again. Hence a reader needs no lock; publishing holds one per model, across processes.
"""

import os
import re
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_zoo import strict_json
from model_zoo.cards.card import Card, TunedSource
from model_zoo.errors import StoreUnusable, UnknownVersion, VersionDamaged
from model_zoo.golden.held_out import HELD_OUT
from model_zoo.locking import exclusive
from model_zoo.sources.digest import sha256_of_file
from model_zoo.store import Materialised

__all__ = ["MODEL_NAME", "Version", "Versions"]

CARD, WEIGHTS, GOLDEN = "card.json", "model.safetensors", "golden.safetensors"
LINEAGE, REPORT, PAGE, MANIFEST = "lineage.json", "report.json", "report.html", "manifest.json"
_LAST, _DELETED, _CHECKS = ".last", ".deleted-", ".checks-"
_MOST_CHECKS = 32
"""Of one version; the oldest go."""
MODEL_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,62}")
"""What a model may be called, whole: no dots, no separators, so that a name is never a path."""
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Version:
    """One version and where its files are."""

    model: str
    number: int
    card: Card
    files: Materialised
    lineage: Mapping[str, Any]
    created: float
    """Seconds since 1970."""
    size_bytes: int
    """Of all its files."""

    @property
    def golden(self) -> Path:
        """``golden.safetensors``; see ``model_zoo/golden/golden_items.py``."""
        return self.files.folder / GOLDEN

    @property
    def home(self) -> Path:
        """``ZOO_HOME``."""
        return self.files.folder.parents[2]

    @property
    def held_out(self) -> Path:
        """``held_out.safetensors``; see ``model_zoo/golden/held_out.py``."""
        return self.files.folder / HELD_OUT


class Versions:
    """The fine-tuned versions under one home. Threads and processes may share a home."""

    def __init__(self, home: Path) -> None:
        """Remember where home is; nothing is created before it is needed."""
        self.home = home
        self._folder = home / "versions"

    def models(self) -> list[str]:
        """Names of the models that have a version, sorted."""
        return sorted(path.name for path in _entries(self._folder) if _is_name(path.name) and self.numbers(path.name))

    def numbers(self, model: str) -> list[int]:
        """Numbers of a model's versions, rising; none for an unknown model, or for what is no name."""
        if not _is_name(model):
            return []
        names = [path.name for path in _entries(self._folder / model) if (path / MANIFEST).is_file()]
        return sorted(int(name) for name in names if _is_number(name))

    def listing(self) -> dict[str, set[int]]:
        """The numbers of all models' versions, from the names of their folders alone: cheap enough to ask again and again.

        Raises:
            StoreUnusable: the folder is there and cannot be read. What cannot be seen just now is not to be taken for gone.
        """
        found: dict[str, set[int]] = {}
        try:
            models = [path for path in self._folder.iterdir() if _is_name(path.name)] if self._folder.exists() else []
            for path in models:
                with suppress(FileNotFoundError, NotADirectoryError):
                    found[path.name] = {int(entry.name) for entry in os.scandir(path) if _is_number(entry.name)}
        except OSError as error:
            raise StoreUnusable(error.strerror or type(error).__name__) from error
        return found

    def has(self, model: str, number: int) -> bool:
        """Whether there is such a version now."""
        return _is_name(model) and (self._folder / model / str(number) / MANIFEST).is_file()

    def open(self, model: str, number: int) -> Version:
        """One version. Sizes are compared with the manifest; contents are not read (see ``verify``).

        Raises:
            UnknownVersion: there is none of that name and number.
            VersionDamaged: its files are not as its manifest says, or its card does not validate.
        """
        folder = self._folder_of(model, number)
        files, size_bytes = self._files(model, number, folder)
        try:
            card = strict_json.read_model(Card, (folder / CARD).read_bytes())
            lineage = _read_json(folder / LINEAGE)
            if not lineage:
                raise VersionDamaged(model, number, "its lineage cannot be read")
            created = float(lineage.get("created") or folder.stat().st_mtime)
        except (OSError, ValueError, TypeError) as error:
            raise VersionDamaged(model, number, "its card or its lineage cannot be read") from error
        if not isinstance(card.source, TunedSource) or card.name != model:
            raise VersionDamaged(model, number, "its card is of something else")
        return Version(model, number, card, files, lineage, created, size_bytes)

    def find(self, card: Card) -> Materialised | None:
        """The files of a tuned card: those of the version that it is the card of. None where there is none.

        Equal weights alone do not make the same version: the labels may be others, or the folder may be deleted.
        """
        if not isinstance(card.source, TunedSource) or "weights" not in card.source.files:
            return None
        wanted = card.source.files["weights"].sha256
        for number in reversed(self.numbers(card.name)):
            try:
                folder = self._folder_of(card.name, number)
                files, _ = self._files(card.name, number, folder)
                if files.digest == wanted and strict_json.read_model(Card, (folder / CARD).read_bytes()) == card:
                    return files
            except (UnknownVersion, VersionDamaged, OSError, ValueError):
                continue
        return None

    def publish(self, model: str, folder: Path) -> int:
        """Make a complete version folder the model's next version, and give its number. The folder is gone afterwards.

        Callers at once, in any process, get different numbers.

        Raises:
            VersionDamaged: the folder is not a complete version of this model, with the number 0.
            StoreUnusable: home cannot be written, or the disk is full.
        """
        if not _is_name(model):
            raise VersionDamaged(model[:64], 0, "a model's name has lower-case letters, digits and '_' only")
        self._check_complete(model, folder)
        home = self._folder / model
        try:
            with exclusive(home / ".lock"):
                number = 1 + max([self._last(model), *self.numbers(model)])
                while (home / str(number)).exists():  # damaged, so not counted; never overwritten
                    number += 1
                self._note_last(model, number)
                folder.rename(home / str(number))
                _flush_folder(home)
        except OSError as error:
            raise StoreUnusable(error.strerror or type(error).__name__) from error
        return number

    def published_by(self, model: str, job_id: str) -> int | None:
        """The version that a job has published, for a supervisor that died before it could note the number."""
        for number in reversed(self.numbers(model)):
            if _read_json(self._folder_of(model, number) / LINEAGE).get("job_id") == job_id:
                return number
        return None

    def withdraw(self, model: str, number: int) -> tuple[Path, int]:
        """Take a version away by a rename: nobody finds it any more, and its number is not given again.

        A damaged one, too, whatever is left of it. Gives the folder where its files are until `tidy` removes them, and their
        bytes.

        Raises:
            UnknownVersion: there is none.
            StoreUnusable: it cannot be taken away.
        """
        folder = self._place_of(model, number)
        doomed = folder.with_name(f"{_DELETED}{number}-{uuid.uuid4().hex[:8]}")
        try:
            _, freed = self.remains(model, number)
            with exclusive(folder.parent / ".lock"):
                last = max([self._last(model), *self.numbers(model)])
                self._note_last(model, last)
                folder.rename(doomed)
                self._checks_of(model, number).unlink(missing_ok=True)
                _flush_folder(folder.parent)
        except FileNotFoundError as error:  # somebody was faster
            raise UnknownVersion(model, number) from error
        except OSError as error:
            raise StoreUnusable(error.strerror or type(error).__name__) from error
        return doomed, freed

    def remains(self, model: str, number: int) -> tuple[float, int]:
        """When the folder of a version, whole or damaged, was last changed, in seconds since 1970; and the bytes of its files.

        Raises:
            UnknownVersion: there is none.
        """
        place = self._place_of(model, number)
        size = 0
        with suppress(OSError):
            files = list(place.iterdir()) if place.is_dir() else [place]
            size = sum(path.lstat().st_size for path in files if path.is_file())
        try:
            return place.lstat().st_mtime, size
        except OSError:
            return 0.0, size

    def put_back(self, model: str, number: int, folder: Path) -> None:
        """Undo `withdraw`. Raises StoreUnusable."""
        try:
            folder.rename(self._folder / model / str(number))
        except OSError as error:
            raise StoreUnusable(error.strerror or type(error).__name__) from error

    def checks(self, model: str, number: int) -> dict[str, Any]:
        """The figures that `note_check` kept for a version, by key; empty where there are none, or the file cannot be read."""
        return _read_json(self._checks_of(model, number)) if _is_name(model) else {}

    def note_check(self, model: str, number: int, key: str, document: Mapping[str, Any]) -> None:
        """Keep what was measured of a version under a key, beside what is kept already. It appears by rename.

        Does nothing for a version that is gone. Raises StoreUnusable.
        """
        if not self.has(model, number):
            return
        path = self._checks_of(model, number)
        draft = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.new")
        try:
            with exclusive(path.parent / ".lock"):
                noted = self.checks(model, number) | {key: dict(document)}
                kept = dict(list(noted.items())[-_MOST_CHECKS:])
                draft.write_text(strict_json.text(kept, indent=1), encoding="utf-8")
                draft.replace(path)
        except OSError as error:
            raise StoreUnusable(error.strerror or type(error).__name__) from error
        finally:
            draft.unlink(missing_ok=True)

    def _checks_of(self, model: str, number: int) -> Path:
        return self._folder / model / f"{_CHECKS}{number}.json"

    def tidy(self) -> None:
        """Remove what was withdrawn, also by a process that was ended before it could. What cannot be removed stays."""
        for model in _entries(self._folder):
            for path in _entries(model):
                if path.name.startswith(_DELETED):
                    _remove(path)

    def delete(self, model: str, number: int) -> int:
        """Remove a version and give the disk space that came back, in bytes. Raises as `withdraw`."""
        doomed, freed = self.withdraw(model, number)
        _remove(doomed)
        return freed

    def lineage(self, model: str, number: int) -> Mapping[str, Any]:
        """Where a version comes from. Raises UnknownVersion; VersionDamaged where it cannot be read."""
        return self._document(model, number, LINEAGE)

    def report(self, model: str, number: int) -> tuple[Mapping[str, Any], bytes]:
        """How a version did on held-out data, for programs and as a page (UTF-8; empty where there is none).

        Raises UnknownVersion; VersionDamaged where it cannot be read.
        """
        report = self._document(model, number, REPORT)
        page = self._folder_of(model, number) / PAGE
        try:
            return report, page.read_bytes() if page.is_file() else b""
        except OSError as error:
            raise VersionDamaged(model, number, f"{PAGE} cannot be read") from error

    def verify(self, model: str, number: int) -> None:
        """Read every file and compare it with the sha256 of the manifest. Nothing is removed: it cannot be had again.

        Raises:
            UnknownVersion: there is none.
            VersionDamaged: a file has changed, or is missing.
        """
        folder = self._folder_of(model, number)
        self._files(model, number, folder)
        try:
            for entry in _read_json(folder / MANIFEST)["files"].values():
                if sha256_of_file(folder / entry["name"]) != entry["sha256"]:
                    raise VersionDamaged(model, number, f"{entry['name']} is not the file that was published")
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise VersionDamaged(model, number, "its manifest or a file of it cannot be read") from error

    # ── within ────────────────────────────────────────────────────────────────────────────────────────────────

    def _place_of(self, model: str, number: int) -> Path:
        """Where a version is, or what is left of it."""
        if not _is_name(model) or number < 1:
            raise UnknownVersion(model[:64], number)
        place = self._folder / model / str(number)
        if not place.exists() and not place.is_symlink():
            raise UnknownVersion(model, number)
        return place

    def _folder_of(self, model: str, number: int) -> Path:
        folder = self._place_of(model, number)
        if not folder.is_dir():
            raise VersionDamaged(model, number, "something else is in the place of its folder")
        if not (folder / MANIFEST).is_file():
            if not folder.exists():  # deleted in this moment
                raise UnknownVersion(model, number)
            raise VersionDamaged(model, number, "its manifest is missing")
        return folder

    def _files(self, model: str, number: int, folder: Path) -> tuple[Materialised, int]:
        """The files of a version folder by role, and their bytes. Raises VersionDamaged."""
        manifest = _read_json(folder / MANIFEST)
        if not manifest:
            raise VersionDamaged(model, number, "its manifest cannot be read")
        try:
            entries = manifest["files"]
            paths: dict[str, Path] = {}
            size_bytes = 0
            for role, entry in entries.items():
                name = entry["name"]
                if not _FILE_NAME.fullmatch(name):
                    raise VersionDamaged(model, number, "its manifest names what is no file of its own")
                path = folder / name
                if not path.exists():
                    raise VersionDamaged(model, number, f"{name} is missing")
                if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["bytes"]:
                    raise VersionDamaged(model, number, f"{name} is not the file that was published")
                paths[role] = path
                size_bytes += entry["bytes"]
            weights, digest = paths.pop("weights"), str(entries["weights"]["sha256"])
        except (OSError, KeyError, TypeError, AttributeError) as error:
            raise VersionDamaged(model, number, "files are missing") from error
        return Materialised(folder, weights, paths, digest), size_bytes

    def _check_complete(self, model: str, folder: Path) -> None:
        self._files(model, 0, folder)
        try:
            card = strict_json.read_model(Card, (folder / CARD).read_bytes())
        except (OSError, ValidationError) as error:
            raise VersionDamaged(model, 0, "its card cannot be read") from error
        if card.name != model or not isinstance(card.source, TunedSource):
            raise VersionDamaged(model, 0, "its card is of something else")

    def _document(self, model: str, number: int, name: str) -> Mapping[str, Any]:
        document = _read_json(self._folder_of(model, number) / name)
        if not document:
            raise VersionDamaged(model, number, f"{name} cannot be read")
        return document

    def _note_last(self, model: str, number: int) -> None:
        """By rename, so that a crash or a full disk in the middle leaves the number that was there."""
        path = self._folder / model / _LAST
        if path.is_dir():  # nobody has made that
            path.rename(path.with_name(f"{_DELETED}last-{uuid.uuid4().hex[:8]}"))
        path.with_name(f"{_LAST}.new").write_text(str(number))
        path.with_name(f"{_LAST}.new").replace(path)

    def _last(self, model: str) -> int:
        try:
            return int((self._folder / model / _LAST).read_text())
        except (OSError, ValueError):
            return 0


def _remove(path: Path) -> None:
    """Whatever it is. What cannot be removed stays."""
    shutil.rmtree(path, ignore_errors=True)  # does nothing to a file, nor to a link
    with suppress(OSError):
        path.unlink()


def _is_name(text: str) -> bool:
    return MODEL_NAME.fullmatch(text) is not None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and text == str(int(text)) and text != "0"


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where it cannot be read."""
    try:
        document = strict_json.read(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _flush_folder(folder: Path) -> None:
    """Brings a rename to disk, where the system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
