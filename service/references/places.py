"""Where the files of a repository are, and how they come to this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

from model_zoo.cards.weight_source import ADAPTER_FOLDER
from model_zoo.errors import InvalidReference, NotDerivable, SourceUnavailable
from model_zoo.locking import exclusive_lock
from model_zoo.references.adapter import AdaptedRepository, base_of, is_adapter
from model_zoo.references.hub import HubRepository
from model_zoo.references.local import LocalRepository
from model_zoo.references.reference import HUB_KINDS, Reference, parse_reference
from model_zoo.references.repository import Repository
from model_zoo.references.torchvision.published import TorchvisionWeights
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.download import ExpectedFile
from model_zoo.sources.hub import fetch_file, snapshot_folder
from model_zoo.sources.url import fetch_url, url_folder


class Place(Protocol):
    """A repository, and a folder of this machine with its files once they are fetched."""

    repository: Repository
    folder: Path
    adapter_folder: Path | None
    """Of an adapter over the network; None without one."""

    @property
    def source(self) -> Mapping[str, Any]:
        """Of a card, without its files."""

    def fetch(self, paths: Sequence[str], progress: Progress | None) -> None:
        """Brings files to this machine. Raises SourceUnavailable."""

    def path(self, path: str) -> tuple[Path, str]:
        """The folder of a fetched file, and its path in that folder."""

    def release(self) -> None:
        """Lets others use the folder; what `fetch` brought stays."""

    def discard(self) -> None:
        """Removes what `fetch` brought."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Held while the files of a folder of `downloads` are fetched and used: another pull of them, under another name, must not
    lose them meanwhile."""
    with exclusive_lock(folder.with_name(f".{folder.name}.pull.lock")):
        yield


class FetchedFolder:
    """A folder of `downloads` that one pull at a time fills and uses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = ExitStack()

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Another pull of the same files, under another name, waits until `release` or `discard`, or until this block fails."""
        self._lock.enter_context(folder_lock(self.path))
        try:
            yield
        except BaseException:
            self._lock.close()
            raise

    def release(self) -> None:
        """Lets others use the folder."""
        self._lock.close()

    def discard(self) -> None:
        """Removes the folder, and lets others fill it anew."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


class LocalPlace:
    """A folder of this machine."""

    adapter_folder: Path | None = None

    def __init__(self, folder: Path) -> None:
        self.repository: Repository = LocalRepository(folder)
        self.folder = folder

    @property
    def source(self) -> Mapping[str, Any]:
        """See Place."""
        return {"kind": "local", "folder": str(self.folder)}

    def fetch(self, paths: Sequence[str], progress: Progress | None) -> None:
        """Does nothing: the files are here."""

    def path(self, path: str) -> tuple[Path, str]:
        """See Place."""
        return self.folder, path

    def release(self) -> None:
        """Does nothing: the folder is not locked."""

    def discard(self) -> None:
        """Does nothing: the folder is the user's."""


class HubPlace:
    """A repository of a hub. What arrives stays if the hub breaks off: the next pull goes on from there."""

    adapter_folder: Path | None = None

    def __init__(self, name: str, revision: str, home: Path) -> None:
        self._hub = HubRepository(name, revision)
        self.repository: Repository = self._hub
        self.folder = home / "downloads" / snapshot_folder(self._hub.repository, self._hub.commit)
        self._fetched = FetchedFolder(self.folder)

    @property
    def source(self) -> Mapping[str, Any]:
        """See Place."""
        return {"kind": "hub", "repository": self._hub.repository, "commit": self._hub.commit}

    def fetch(self, paths: Sequence[str], progress: Progress | None) -> None:
        """See Place."""
        with self._fetched.filling():
            total, done = sum(self._hub.files[path].size for path in paths), 0
            for path in paths:
                if progress is not None:
                    progress(done, total, path)
                fetch_file(self._hub.repository, self._hub.commit, path, self.folder)
                done += self._hub.files[path].size

    def path(self, path: str) -> tuple[Path, str]:
        """See Place."""
        return self.folder, path

    def release(self) -> None:
        """See Place."""
        self._fetched.release()

    def discard(self) -> None:
        """See Place."""
        self._fetched.discard()


class TorchvisionPlace:
    """The file of one set of weights of torchvision, on the web."""

    adapter_folder: Path | None = None

    def __init__(self, name: str, home: Path) -> None:
        self._weights = TorchvisionWeights(name)
        self.repository: Repository = self._weights
        self.folder = home / "downloads" / url_folder(self._weights.url, self._weights.digits)
        self._fetched = FetchedFolder(self.folder)

    @property
    def source(self) -> Mapping[str, Any]:
        """See Place."""
        return {"kind": "url", "url": self._weights.url}

    def fetch(self, paths: Sequence[str], progress: Progress | None) -> None:
        """See Place. Raises DigestMismatch as well."""
        with self._fetched.filling():
            [(path, file)] = self._weights.files.items()
            fetch_url(self._weights.url, self.folder, ExpectedFile(path, file.size, self._weights.digits), progress)

    def path(self, path: str) -> tuple[Path, str]:
        """See Place."""
        return self.folder, path

    def release(self) -> None:
        """See Place."""
        self._fetched.release()

    def discard(self) -> None:
        """See Place."""
        self._fetched.discard()


class AdaptedPlace:
    """An adapter, and the network that it names."""

    def __init__(self, adapter: Place, base: Place) -> None:
        self._adapter, self._base = adapter, base
        self.adapted = AdaptedRepository(adapter.repository, base.repository)
        self.repository: Repository = self.adapted
        self.folder = base.folder
        self.adapter_folder: Path | None = adapter.folder

    @property
    def source(self) -> Mapping[str, Any]:
        """See Place."""
        return {"kind": "adapted", "base": _without_kind(self._base), "adapter": _without_kind(self._adapter)}

    def fetch(self, paths: Sequence[str], progress: Progress | None) -> None:
        """See Place."""
        own = [path for path in paths if path.startswith(ADAPTER_FOLDER)]
        parts = [
            (self._adapter, [path.removeprefix(ADAPTER_FOLDER) for path in own]),
            (self._base, [path for path in paths if path not in own]),
        ]
        # Both are locked at the end. One order for all pulls, so that no two wait for each other.
        (first, wanted), (second, others) = sorted(parts, key=lambda part: part[0].folder)
        first.fetch(wanted, progress)
        try:
            second.fetch(others, progress)
        except BaseException:
            first.release()
            raise

    def path(self, path: str) -> tuple[Path, str]:
        """See Place."""
        if path.startswith(ADAPTER_FOLDER):
            return self._adapter.path(path.removeprefix(ADAPTER_FOLDER))
        return self._base.path(path)

    def release(self) -> None:
        """See Place."""
        self._adapter.release()
        self._base.release()

    def discard(self) -> None:
        """See Place."""
        self._adapter.discard()
        self._base.discard()


def place_of(reference: Reference, home: Path, *, offline: bool) -> Place:
    """The place of a reference, with its network where it is an adapter.

    Raises:
        NotDerivable: it is an adapter that Zoo cannot merge.
        SourceUnavailable: it is on a hub that does not answer, or that may not be asked.
    """
    place = _place(reference, home, offline)
    if not is_adapter(place.repository):
        return place
    return AdaptedPlace(place, _base_place(place, reference, home, offline))


def _place(reference: Reference, home: Path, offline: bool) -> Place:
    if reference.kind == "local":
        return LocalPlace(Path(reference.place))
    if offline:
        raise SourceUnavailable(reference.shown, "it is not on this machine, and ZOO_OFFLINE forbids a fetch")
    if reference.kind == "torchvision":
        return TorchvisionPlace(reference.place, home)
    return HubPlace(reference.repository, reference.revision, home)


def _base_place(adapter: Place, reference: Reference, home: Path, offline: bool) -> Place:
    """The place of the network that an adapter names: a repository of a hub, or, for an adapter of this machine, a folder."""
    base, revision = base_of(adapter.repository)
    if reference.kind not in HUB_KINDS and Path(base).is_absolute():
        found = parse_reference(f"local:{base}")
    else:
        try:
            found = parse_reference(f"hf:{base}" + (f"@{revision}" if revision else ""))
        except InvalidReference as error:
            raise NotDerivable(adapter.repository.name, f"its base {base[:80]!r} is no repository of a hub") from error
    place = _place(found, home, offline)
    if is_adapter(place.repository):
        raise NotDerivable(adapter.repository.name, "its base is an adapter as well")
    return place


def _without_kind(place: Place) -> dict[str, Any]:
    return {name: value for name, value in place.source.items() if name != "kind"}
