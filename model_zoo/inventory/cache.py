"""What lies in ``ZOO_HOME/weights`` and ``ZOO_HOME/downloads``, who uses it, and the removal of what nobody uses.

Something is in use where a card of the package or of the home points to it, or a fine-tuned version has its base there. Where a
card or a version cannot be read, all that it might use is kept.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_zoo import strict_json
from model_zoo.cards.weight_source import WITHOUT_NETWORK, InitialSource, LocalSource, TunedSource
from model_zoo.catalog import CARDS, Catalog
from model_zoo.sources.source_table import source_for
from model_zoo.store import Store
from model_zoo.versions import Versions

__all__ = ["CacheItem", "cache_items", "remove_item"]

_LOCK_SUFFIX = ".lock"
_WITHOUT_DOWNLOAD = (*WITHOUT_NETWORK, LocalSource, TunedSource, InitialSource)


@dataclass(frozen=True)
class CacheItem:
    """A file or a folder of the cache.

    Attributes:
        kind: ``weights`` of a model; ``pointer`` from a card to its weights; ``download`` before its conversion; ``leftover`` of
            a process that was killed.
        name: of the model, or of the file.
        digest: sha256 of the weights; empty for anything else.
        bytes: of all its files.
        users: who uses it: names of models, and of versions as ``model/number``. Nobody, where it is empty.
    """

    kind: Literal["weights", "pointer", "download", "leftover"]
    name: str
    path: Path
    digest: str
    bytes: int
    users: tuple[str, ...]


def cache_items(home: Path) -> list[CacheItem]:
    """All that is there, by kind and name. Reads no weights. Raises OSError where a folder cannot be read."""
    catalog = Catalog.of_home(home)
    found = [*_weights(home, catalog), *_pointers(home, catalog), *_downloads(home, catalog), *_leftovers(home)]
    order = ("weights", "pointer", "download", "leftover")
    return sorted(found, key=lambda item: (order.index(item.kind), item.name, item.path.name))


def remove_item(item: CacheItem) -> None:
    """Removes a file, a link or a folder. The caller has made sure that no server and no pull uses the home. Raises OSError."""
    if item.path.is_dir() and not item.path.is_symlink():
        shutil.rmtree(item.path)
    else:
        item.path.unlink(missing_ok=True)


def _weights(home: Path, catalog: Catalog) -> Iterator[CacheItem]:
    pointed = _folders_of_cards(home, catalog)
    bases, unreadable = _bases_of_versions(home)
    named: dict[str, list[str]] = {}  # several cards may have the same weights
    for pointer in map(strict_json.read_object, _entries(home / "weights" / "by-card")):
        if pointer is not None:
            named.setdefault(str(pointer.get("digest")), []).append(str(pointer.get("card")))
    for path in _entries(home / "weights"):
        if path.name == "by-card" or path.name.startswith("."):
            continue
        digest = path.name.partition("-")[0]
        users = [*pointed.get(path.name, ()), *bases.get(digest, ())]
        if not users:
            users = [f"perhaps {one}, which cannot be read" for one in unreadable]
            users += [
                f"perhaps {card}, whose card is damaged" for card in catalog.damaged if card in named.get(path.name, ())
            ]
        name = next(iter((*pointed.get(path.name, ()), *named.get(path.name, ()))), path.name[:16])
        yield CacheItem("weights", name, path, digest, _bytes(path), tuple(users))


def _pointers(home: Path, catalog: Catalog) -> Iterator[CacheItem]:
    """Pointers that no card has any more. Those in use belong to the weights and are not listed."""
    store = Store(home)
    wanted = {store.pointer(card) for card in catalog}
    for path in _entries(home / "weights" / "by-card"):
        name = str((strict_json.read_object(path) or {}).get("card", path.stem))
        if path not in wanted and not path.name.startswith(".") and name not in catalog.damaged:
            yield CacheItem("pointer", name, path, "", _bytes(path), ())


def _downloads(home: Path, catalog: Catalog) -> Iterator[CacheItem]:
    """A user may have put an artifact there by hand, for a model that is not here yet."""
    store = Store(home)
    awaited: dict[str, list[str]] = {}
    for card in catalog:
        if not isinstance(card.source, _WITHOUT_DOWNLOAD) and store.find(card) is None:
            awaited.setdefault(source_for(card.source).key, []).append(card.name)
    for path in _entries(home / "downloads"):
        if path.name.startswith(".") and path.name.endswith(_LOCK_SUFFIX):
            continue  # empty, and another process may hold it
        yield CacheItem("download", path.name, path, "", _bytes(path), tuple(awaited.get(path.name, ())))


def _leftovers(home: Path) -> Iterator[CacheItem]:
    for folder in (home / "weights", home / "weights" / "by-card", home / CARDS):
        for path in _entries(folder):
            if path.name.startswith(".") and not path.name.endswith(_LOCK_SUFFIX):
                yield CacheItem("leftover", path.name, path, "", _bytes(path), ())


def _folders_of_cards(home: Path, catalog: Catalog) -> Mapping[str, list[str]]:
    """Name of a folder → names of the models whose cards point to it, damaged or not."""
    store = Store(home)
    found: dict[str, list[str]] = {}
    for card in catalog:
        pointer = strict_json.read_object(store.pointer(card))
        if pointer is not None:
            found.setdefault(str(pointer.get("digest")), []).append(card.name)
    return found


def _bases_of_versions(home: Path) -> tuple[Mapping[str, list[str]], list[str]]:
    """Digest of a base → the versions that were tuned from it; and the versions that do not say their base."""
    found: dict[str, list[str]] = {}
    unreadable = []
    for model, numbers in sorted(Versions(home).listing().items()):
        for number in sorted(numbers):
            card = strict_json.read_object(home / "versions" / model / str(number) / "card.json") or {}
            source = card.get("source")
            base = source.get("base_digest") if isinstance(source, dict) else None
            if isinstance(base, str):
                found.setdefault(base, []).append(f"{model}/{number}")
            else:
                unreadable.append(f"{model}/{number}")
    return found, unreadable


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(below.lstat().st_size for below in path.rglob("*") if not below.is_dir() or below.is_symlink())
