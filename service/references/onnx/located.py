"""Where an ONNX file is: on this machine, or in a repository of a model hub or at an address of the web, from which it is
fetched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_zoo.cards.web_address import file_name_of
from model_zoo.errors import NotDerivable, SourceUnavailable
from model_zoo.references.card_plan import FILE, Given
from model_zoo.references.hub import HubRepository
from model_zoo.references.onnx.facts import MOST_BYTES
from model_zoo.references.reference import HUB_PREFIX, Reference
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.download import ExpectedFile
from model_zoo.sources.hub import fetch_file, snapshot_folder
from model_zoo.sources.url import fetch_url, size_at, url_folder
from service.references.places import folder_lock

ROOM = 2.2
"""Free space that a pull needs, as a multiple of the files: as they were fetched, and as they are kept."""
_BESIDE = ("{name}.data", "{name}_data", "{stem}.data", "{stem}_data")
"""Names by which exporters call the file of the weights beside a graph."""
_MOST_LISTED = 5


@dataclass(frozen=True)
class LocatedFile:
    """An ONNX file on this machine.

    Attributes:
        shown: the reference, for messages.
        root: folder below which the card names the files.
        path: of the file below it, with forward slashes.
        source: of the card, without its files.
        licence: of the weights, as far as it is stated.
    """

    shown: str
    root: Path
    path: str
    source: Mapping[str, Any]
    licence: str

    @property
    def file(self) -> Path:
        """The file."""
        return self.root / self.path

    def beside(self, name: str) -> str:
        """Path below the root of another file in the folder of this one."""
        folder, slash, _ = self.path.rpartition("/")
        return f"{folder}{slash}{name}"


@contextmanager
def located(
    reference: Reference, home: Path, given: Given, *, offline: bool, progress: Progress | None
) -> Iterator[LocatedFile]:
    """The file of a reference. What was fetched for it is removed at the end.

    Raises NotDerivable, SourceUnavailable, StoreUnusable.
    """
    shown = reference.shown
    is_of_hub = reference.place.startswith(HUB_PREFIX)
    if not is_of_hub and not reference.is_of_web:
        here = Path(reference.place)
        _check_size(shown, _size_of(shown, here))
        yield LocatedFile(shown, here.parent, here.name, {"kind": "local", "folder": str(here.parent)}, "not stated")
        return
    if offline:
        raise SourceUnavailable(shown, "it is not on this machine, and ZOO_OFFLINE forbids a fetch")
    if reference.is_of_web:
        folder = home / "downloads" / url_folder(reference.place, reference.sha256)
        with folder_lock(folder):
            fetched = _fetched_from_web(reference, folder, home, progress)
            try:
                yield fetched
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return
    hub = HubRepository(reference.place.removeprefix(HUB_PREFIX), reference.revision)
    with folder_lock(home / "downloads" / snapshot_folder(hub.repository, hub.commit)):
        fetched = _fetched_from_hub(shown, hub, home, given, progress)
        try:
            yield fetched
        finally:
            shutil.rmtree(fetched.root, ignore_errors=True)


def _fetched_from_hub(
    shown: str, hub: HubRepository, home: Path, given: Given, progress: Progress | None
) -> LocatedFile:
    path_there = _chosen(shown, hub, given)
    folder = home / "downloads" / snapshot_folder(hub.repository, hub.commit)
    fetched = LocatedFile(
        shown,
        folder,
        path_there,
        {"kind": "hub", "repository": hub.repository, "commit": hub.commit},
        hub.licence,
    )
    names = [pattern.format(name=fetched.file.name, stem=fetched.file.stem) for pattern in _BESIDE]
    paths = [path_there, *(path for path in map(fetched.beside, names) if path in hub.files)]
    total, done = sum(hub.files[path].size for path in paths), 0
    _check_disk(shown, total, home)
    for path in paths:  # what arrives stays if the hub breaks off: the next pull goes on from there
        if progress is not None:
            progress(done, total, path)
        fetch_file(hub.repository, hub.commit, path, folder)
        done += hub.files[path].size
    return fetched


def _fetched_from_web(reference: Reference, folder: Path, home: Path, progress: Progress | None) -> LocatedFile:
    """One file. A graph whose weights lie in another one beside it is refused later, as everywhere."""
    url, shown = reference.place, reference.shown
    name = file_name_of(url)
    size = size_at(url, name)
    _check_size(shown, size)
    _check_disk(shown, size, home)
    fetch_url(url, folder, ExpectedFile(name, size, reference.sha256), progress)
    return LocatedFile(shown, folder, name, {"kind": "url", "url": url}, "not stated")


def _check_disk(shown: str, size: int, home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if ROOM * size > (free := shutil.disk_usage(home).free):
        raise NotDerivable(shown, f"it needs {ROOM * size / 1e9:.1f} GB of disk, and {free / 1e9:.1f} GB are free")


def _chosen(shown: str, hub: HubRepository, given: Given) -> str:
    """Path of the file in a repository: the only one, or the one that the user names."""
    files = [path for path in hub.files if path.endswith(".onnx")]
    chosen = given.settings.get(FILE, files[0] if len(files) == 1 else "")
    if not files:
        raise NotDerivable(shown, "the repository has no file that ends in .onnx")
    if chosen not in files:
        more = f" and {len(files) - _MOST_LISTED} more" if len(files) > _MOST_LISTED else ""
        listed = ", ".join(path[:100] for path in files[:_MOST_LISTED]) + more
        raise NotDerivable(shown, f"the repository has the files {listed}", f"one of them by --set {FILE}=PATH")
    _check_size(shown, hub.files[chosen].size)
    return chosen


def _size_of(shown: str, path: Path) -> int:
    try:
        if not path.is_file():
            what = "it is a folder, not a file" if path.exists() else "there is no such file"
            raise SourceUnavailable(shown, what)
        return path.stat().st_size
    except OSError as error:
        raise SourceUnavailable(shown, "the file cannot be read") from error


def _check_size(shown: str, size: int) -> None:
    if size > MOST_BYTES:
        raise NotDerivable(shown, f"it has {size:,} bytes, more than {MOST_BYTES:,}, the limit of the format")
    if size == 0:
        raise NotDerivable(shown, "the file is empty")
