"""The store: the files of cards under ``ZOO_HOME``.

::

    ZOO_HOME/
      downloads/   <artifact>, <artifact>.part      downloads; removed after the conversion of a model
      weights/     by-card/<name>-<recipe>.json     pointer: the folder of a card
                   <digest>/  model.safetensors     <digest> is the sha256 of this file
                              labels.txt, tokenizer.json, manifest.json
                   <digest>-<manifest>/             the same weights with other labels or another tokenizer

Invariants. A folder under ``weights/`` appears by rename, complete, and is never edited afterwards. A pointer in ``by-card/``
appears after the folder that it names. Hence a reader needs no lock. A process that dies leaves only a ``.staging-`` folder,
which the next writer of the same card removes.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import InitialSource, SourceFile, TunedSource
from model_zoo.errors import ConversionFailed, StoreUnusable
from model_zoo.locking import exclusive_lock
from model_zoo.materialised import Materialised, label_lines
from model_zoo.sources.artifact_source import ArtifactSource, Progress
from model_zoo.sources.digest import check_file, sha256_of_file
from model_zoo.sources.source_table import Published, artifact_keys, source_for
from model_zoo.versions import Versions

__all__ = ["Store", "recipe_key"]

WEIGHTS = "model.safetensors"
_MANIFEST = "manifest.json"
_FILES_FROM = {"source", "weights", "architecture", "labels"}
"""Fields of a card that decide its files, beside the names of its classes."""
_CONVERTER = 1
"""Part of the recipe key: raise it when the output of ``convert`` changes, so that cards are converted again."""


class Store:
    """Materialised models under one home. Threads and processes may share a home."""

    def __init__(self, home: Path, *, keep_downloads: bool = False) -> None:
        """Remember where home is; nothing is created before it is needed.

        Args:
            home: ``ZOO_HOME``.
            keep_downloads: keep an artifact after its conversion. Off by default, because it doubles the disk space and the
                artifact can be fetched again.
        """
        self._versions = Versions(home)
        self._downloads = home / "downloads"
        self._weights = home / "weights"
        self._keep_downloads = keep_downloads

    def find(self, card: Card) -> Materialised | None:
        """The files of a card; None unless all are there with the recorded sizes. A fine-tuned card has the files of its version.

        Contents are not read (see ``verify``), so the call is cheap. It takes no lock and needs no network.
        """
        if isinstance(card.source, TunedSource):
            return self._versions.find(card)
        pointer = strict_json.read_object(self.pointer(card))
        return None if pointer is None else self._open(str(pointer.get("digest")))

    def materialise(self, card: Card, progress: Progress | None = None) -> Materialised:
        """Fetch, check, convert and publish a card, or return the files that are there already. Blocks; may take minutes.

        Of two concurrent callers, in any process, the second waits for the first. The artifact is removed from ``downloads/``
        afterwards unless ``keep_downloads`` is set.

        Raises:
            SourceUnavailable: the artifact cannot be fetched.
            DigestMismatch: the artifact is not the one on the card.
            ConversionFailed: the tensors do not fit the architecture.
            StoreUnusable: home cannot be written, or the disk is full.
        """
        found = self.find(card)
        if found is not None:
            return found
        try:
            # One lock per artifact: two cards may share an artifact, and the first must not remove it while the second reads it.
            keys = artifact_keys(_published(card))
            with ExitStack() as locks:
                if not self._keep_downloads:
                    # A pull keeps the artifact longer than its own store does, and holds this lock meanwhile.
                    for key in keys:
                        locks.enter_context(exclusive_lock(self._downloads / f".{key}.pull.lock"))
                for key in keys:
                    locks.enter_context(exclusive_lock(self._downloads / f".{key}.lock"))
                return self.find(card) or self._make(card, progress)
        except OSError as error:
            raise StoreUnusable(error.strerror or type(error).__name__) from error

    def remove(self, card: Card) -> None:
        """Forget the files of a card; they are removed unless another card has the same ones. Does nothing for a card without
        files."""
        pointer = self.pointer(card)
        digest = str((strict_json.read_object(pointer) or {}).get("digest"))
        pointer.unlink(missing_ok=True)
        others = (strict_json.read_object(other) or {} for other in pointer.parent.glob("*.json"))
        if self._open(digest) is not None and all(other.get("digest") != digest for other in others):
            shutil.rmtree(self._weights / digest, ignore_errors=True)

    def verify(self, card: Card) -> None:
        """Read every file of a materialised card and compare it with the sha256 that was recorded when it was published.

        Raises:
            DigestMismatch: a file has changed. It has been removed, so ``find`` returns None and the next ``materialise``
                rebuilds the card.
            ConversionFailed: the card is not materialised.
        """
        found = self.find(card)
        if found is None:
            raise ConversionFailed(card.name, "it is not in the store yet; materialise it first")
        manifest = strict_json.read_object(found.folder / _MANIFEST) or {}
        for entry in manifest["files"].values():
            check_file(found.folder / entry["name"], entry["sha256"], f"{card.name}/{entry['name']}")

    def _make(self, card: Card, progress: Progress | None) -> Materialised:
        """Fetch, convert in a staging folder, publish. The caller holds the locks of the artifacts."""
        key = recipe_key(card)
        for abandoned in self._weights.glob(f".staging-{key}-*"):
            shutil.rmtree(abandoned, ignore_errors=True)
        source = source_for(_published(card))
        artifact = source.fetch(self._downloads, progress)
        staging = self._weights / f".staging-{key}-{uuid.uuid4().hex}"
        staging.mkdir(parents=True)
        try:
            from model_zoo.formats.convert import convert  # torch is needed here only

            contents = _Contents(source, artifact, card.source.files)
            materialised = self._publish(card, staging, convert(card, contents, staging))
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        if not self._keep_downloads:
            source.discard(artifact)
        return materialised

    def _publish(self, card: Card, staging: Path, roles: dict[str, str]) -> Materialised:
        """Turn a staging folder into a published one, manifest last, pointer after it."""
        files = {
            role: {
                "name": name,
                "bytes": (staging / name).stat().st_size,
                "sha256": sha256_of_file(staging / name),
            }
            for role, name in sorted(roles.items())
        }
        for name in roles.values():
            _flush(staging / name)
        digest = str(files["weights"]["sha256"])
        manifest = {"converter": _CONVERTER, "files": files}
        _write_json(staging / _MANIFEST, manifest)
        name = self._folder_for(digest, manifest)
        folder = self._weights / name
        if self._open(name) is None or strict_json.read_object(folder / _MANIFEST) != manifest:
            # The folder of this name is damaged, or an earlier converter has written it: it is moved away.
            outdated = staging.with_name(f"{staging.name}-outdated")
            with suppress(FileNotFoundError):
                folder.rename(outdated)
            with suppress(OSError):  # another process has published it first; checked below
                staging.rename(folder)
            shutil.rmtree(outdated, ignore_errors=True)
        pointer = self._pointer(card, recipe_key(card))
        pointer.parent.mkdir(parents=True, exist_ok=True)
        staged = pointer.with_name(f".{pointer.name}-{uuid.uuid4().hex}")
        _write_json(staged, {"card": card.name, "digest": name})
        staged.replace(pointer)
        materialised = self._open(name)
        if materialised is None:
            raise ConversionFailed(card.name, "the files vanished while they were being published")
        return materialised

    def _folder_for(self, digest: str, manifest: dict[str, Any]) -> str:
        """Name of the folder: the digest of the weights. Another model may have the same weights with other labels or another
        tokenizer: its folder stays as it is, and this one gets a name of its own."""
        known = strict_json.read_object(self._weights / digest / _MANIFEST)
        if known is None or known == manifest or known.get("converter") != _CONVERTER or self._open(digest) is None:
            return digest
        whole = strict_json.text(manifest, sort_keys=True).encode()
        return f"{digest}-{hashlib.sha256(whole).hexdigest()[:16]}"

    def _open(self, name: str) -> Materialised | None:
        folder = self._weights / name
        manifest = strict_json.read_object(folder / _MANIFEST)
        if manifest is None:
            return None
        paths: dict[str, Path] = {}
        try:
            for role, entry in manifest["files"].items():
                path = folder / entry["name"]
                if path.stat().st_size != entry["bytes"]:
                    return None
                paths[role] = path
            weights = paths.pop("weights")
        except (OSError, KeyError, TypeError, AttributeError, ValueError):
            return None
        return Materialised(folder, weights, paths, name.partition("-")[0])

    def pointer(self, card: Card) -> Path:
        """The file that names the folder of a card; there may be none."""
        pointer = self._pointer(card, recipe_key(card))
        if not card.class_names or pointer.exists():
            return pointer
        # Earlier releases did not count the names of the classes: their pointer holds where its folder has these names.
        earlier = self._pointer(card, _key_without_classes(card))
        folder = self._weights / str((strict_json.read_object(earlier) or {}).get("digest"))
        return earlier if _has_labels(folder, card) else pointer

    def _pointer(self, card: Card, key: str) -> Path:
        return self._weights / "by-card" / f"{card.name}-{key}.json"


class _Contents(Mapping[str, bytes]):
    """Checked source files by role. A file is read each time that it is asked for, so that no more than one need be in memory."""

    def __init__(self, source: ArtifactSource, artifact: Path, files: Mapping[str, SourceFile]) -> None:
        self._source, self._artifact, self._files = source, artifact, files

    def __getitem__(self, role: str) -> bytes:
        return self._source.read(self._artifact, self._files[role])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _published(card: Card) -> Published:
    if isinstance(card.source, InitialSource):
        raise ConversionFailed(card.name, "there are none; tune it on your data")
    if isinstance(card.source, TunedSource):
        raise ConversionFailed(card.name, "it has no published weights to fetch")
    return card.source


def recipe_key(card: Card) -> str:
    """16 hex digits over all fields that decide the files; an edited summary does not change it."""
    return _key(card, _FILES_FROM | {"class_names"}) if card.class_names else _key_without_classes(card)


def _key_without_classes(card: Card) -> str:
    return _key(card, _FILES_FROM)


def _key(card: Card, fields: set[str]) -> str:
    recipe = card.model_dump(mode="json", include=fields)
    if not card.weights.parts:  # earlier releases had no such field, and their homes keep their weights
        recipe.get("weights", {}).pop("parts", None)
    text = strict_json.text([_CONVERTER, recipe], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _has_labels(folder: Path, card: Card) -> bool:
    """Whether the labels in a folder of the store are the classes of a card."""
    try:
        return (folder / str(card.labels)).read_bytes() == label_lines(card.class_names)
    except OSError:
        return False


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(strict_json.text(document, indent=1, sort_keys=True), encoding="utf-8")
    _flush(path)


def _flush(path: Path) -> None:
    """Write a file to disk before the rename that publishes it; otherwise a power cut could publish an empty file."""
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())
