"""The models of a lock file, exactly as it pins them: the same commit, the same files, the same card.

Nothing is derived and nothing is asked of a hub but the pinned files. The comparison with the makers' library was made when the
model was pulled first; here the golden cases that came of it are run.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import (
    ADAPTER_FOLDER,
    AdaptedSource,
    HubSource,
    LocalSource,
    RepositoryPlace,
    SourceFile,
    UrlSource,
    WeightSource,
)
from model_zoo.catalog import CARDS, Catalog
from model_zoo.errors import (
    ConversionFailed,
    DigestMismatch,
    InvalidCard,
    NotAsLocked,
    SourceUnavailable,
    StoreUnusable,
    UnknownCard,
    ZooModelError,
)
from model_zoo.inventory.lock_file import difference
from model_zoo.locking import passing_lock, shared_lock
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import sha256_of_file
from model_zoo.sources.hub import snapshot_folder
from model_zoo.sources.url import url_folder
from model_zoo.store import Store
from service.references.footprint import Room, check_room, footprint_of_card
from service.references.places import folder_lock
from service.references.publishing import Pulled, publish_card
from service.runtime.network import NetworkRuntime
from service.runtime.onnx_session import OnnxRuntime
from service.settings import HOME_LOCK
from service.tasks.table import task_for
from service.verification.golden_check import golden_problem


def pull_locked(
    card: Card,
    home: Path,
    *,
    offline: bool = False,
    room: Room = Room(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Pulled:
    """Makes a model of a lock file a model of this home. Blocks; may take minutes. A refused model leaves nothing behind.

    Raises:
        NotAsLocked: this home has another model of that name, or a file of the source is not the one that is pinned.
        NotDerivable: it does not fit on the disk or in memory.
        SourceUnavailable, ConversionFailed, StoreUnusable: see `model_zoo.errors`.
    """
    try:
        with shared_lock(home / HOME_LOCK), passing_lock(home / CARDS / f".{card.name}.lock"):
            return _pull(card, home, offline, room, progress)
    except OSError as error:
        raise StoreUnusable(error.strerror or type(error).__name__) from error


def check_free(card: Card, home: Path) -> bool:
    """Whether this home has the locked model's card already. Raises NotAsLocked where it has another one of that name."""
    try:
        known = Catalog.of_home(home).get(card.name)
    except UnknownCard:
        if (home / CARDS / f"{card.name}.yaml").exists():
            raise NotAsLocked(card.name, "the card of that file name has another name inside") from None
        return False
    except InvalidCard as error:
        raise NotAsLocked(card.name, f"its card in ZOO_HOME is damaged ({error.reason}); mend or remove it") from error
    if found := difference(known, card):
        raise NotAsLocked(
            card.name, f"{found}; remove its card from the folder cards of ZOO_HOME to pull the other one"
        )
    return True


def _pull(card: Card, home: Path, offline: bool, room: Room, progress: Progress | None) -> Pulled:
    known = check_free(card, home)
    store = Store(home)
    found = store.find(card)
    if known and found is not None:
        return Pulled(card, found, True)
    if offline and found is None and _fetched_folders(card.source, home):
        raise SourceUnavailable(card.reference, "its files are not on this machine, and ZOO_OFFLINE forbids a fetch")
    needed = footprint_of_card(card)
    check_room(card.name, needed, shutil.disk_usage(home).free, room)
    room.limit(needed)
    try:
        made = _materialised(card, store, home, progress)
        _check_answers(card, made)
        publish_card(card, home)
    except BaseException:
        if not known:
            store.remove(card)
        raise
    return Pulled(card, made, False)


def _materialised(card: Card, store: Store, home: Path, progress: Progress | None) -> Materialised:
    try:
        return store.materialise(card, progress)
    except (ConversionFailed, DigestMismatch, SourceUnavailable) as error:
        there = [file for file in card.source.files.values() if _path_of(card.source, file, home).is_file()]
        wrong = next((problem for file in there if (problem := _digest_problem(card.source, file, home))), "")
        # Right files stay where a transfer broke off: the next attempt goes on from there.
        if wrong or not there or isinstance(error, ConversionFailed):
            for folder in _fetched_folders(card.source, home):
                with folder_lock(folder):
                    shutil.rmtree(folder, ignore_errors=True)
        if wrong:
            raise NotAsLocked(card.name, wrong) from error
        if isinstance(error, DigestMismatch):
            raise NotAsLocked(
                card.name, f"{error.file} has sha256 {error.got}, and locked is {error.expected}"
            ) from error
        raise


def _places(source: WeightSource) -> list[RepositoryPlace]:
    """Where the files of a source come from: one place, or that of a network and that of its adapter."""
    match source:
        case HubSource():
            return [RepositoryPlace(repository=source.repository, commit=source.commit)]
        case LocalSource():
            return [RepositoryPlace(folder=source.folder)]
        case AdaptedSource():
            return [source.base, source.adapter]
    raise TypeError(source.kind)  # a lock file has no other kind


def _folder_of(place: RepositoryPlace, home: Path) -> Path:
    return Path(place.folder) if place.folder else home / "downloads" / snapshot_folder(place.repository, place.commit)


def _fetched_folders(source: WeightSource, home: Path) -> list[Path]:
    """Folders of `downloads` into which the files of a source are fetched; none for files of this machine."""
    if isinstance(source, UrlSource):
        return [home / "downloads" / url_folder(source.url, source.files["weights"].sha256)]
    return [_folder_of(place, home) for place in _places(source) if place.repository]


def _path_of(source: WeightSource, file: SourceFile, home: Path) -> Path:
    """Where a fetched file is before it is converted."""
    if isinstance(source, UrlSource):
        return _fetched_folders(source, home)[0] / file.path
    if isinstance(source, AdaptedSource) and file.path.startswith(ADAPTER_FOLDER):
        return _folder_of(source.adapter, home) / file.path.removeprefix(ADAPTER_FOLDER)
    return _folder_of(_places(source)[0], home) / file.path


def _digest_problem(source: WeightSource, file: SourceFile, home: Path) -> str:
    """Both digests of a file that is not the pinned one; empty for the right file."""
    got = sha256_of_file(_path_of(source, file, home))
    return "" if got == file.sha256 else f"{file.path} has sha256 {got}, and locked is {file.sha256}"


def _check_answers(card: Card, files: Materialised) -> None:
    """Raises ConversionFailed where the network does not run, or gives other answers than its golden cases say."""
    try:
        is_graph = card.architecture.builder == "onnx"
        runtime = OnnxRuntime(files.weights, "cpu", 1) if is_graph else NetworkRuntime(load_network(card, files), "cpu")
        problem = golden_problem(task_for(card, files), runtime)
    except ZooModelError:
        raise
    except Exception as error:  # a card that was edited by hand may contradict itself anywhere
        raise ConversionFailed(card.name, "its network does not run by the card of the lock file") from error
    if problem is not None:
        raise ConversionFailed(card.name, f"the network gives other answers than where it was locked: {problem}")
