"""Features of a frozen backbone on a data set, on disk: computed once for all jobs with the same base and data. No torch here.

`ZOO_HOME/features/<first 16 of the weights' digest>-<digest of the preparation>-<dataset id>/`:

    chunk-<start>-<stop>.safetensors   of the examples start … stop - 1: features float32 (n, D), and ok uint8 (n), see below
    complete.json                      {"count": N, "width": D}, once every example is in a chunk

Rows are in the order of the data set. `ok` is 0 for an example that cannot be preprocessed, whose features are zeros; `EXACT` if
the backbone ran in fp32; `REDUCED` if the server's ran in a reduced precision; `TRUNCATED` is added if the network reads only a
part of the example. Files appear by rename, complete, so the server and a worker may write at the same time: the last one wins,
with the same numbers.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.materialised import Materialised
from model_zoo.sources.digest import sha256_of_file
from model_zoo.system_errors import system_errors
from service import __version__
from service.datasets.dataset import FEATURES, DatasetInfo
from service.training.data.feature_inputs import features_card
from service.types import Item

COMPLETE = "complete.json"
EXACT, REDUCED, TRUNCATED = 1, 2, 4
"""Bits of `ok`."""
CHUNK, SOUNDS_CHUNK = 256, 32
"""Examples of one chunk: a crash loses at most these. A worker that waits for the server sees whole chunks only, and a network
that reads sounds may take seconds for each."""
_CHUNK_NAME = re.compile(r"chunk-(\d{1,12})-(\d{1,12})\.safetensors")

PREPARATION = 4
"""Increase it when a task's preprocessing changes its tensors for the same example: earlier features are not used then."""


def features_folder(home: Path, base: Card, files: Materialised, dataset: DatasetInfo) -> Path:
    """The folder of a base's features on a data set. The server and its workers must both name it by this function.

    It depends on all that decides the numbers: two bases may have the same weights and read other tokens, or pool them otherwise.
    A release of Zoo that prepares examples differently must not use these features either. Reads the base's small files.
    """
    card = features_card(base, dataset)
    known = {
        "release": __version__,
        "preparation": PREPARATION,
        "weights": files.digest,
        "files": {role: sha256_of_file(path) for role, path in sorted(files.files.items())},
        "card": card.model_dump(mode="json", include={"task", "architecture", "recipe"}),
        "lengths": card.batching.model_dump(mode="json", include={"length_of", "min_length", "max_length"}),
    }
    prepared = hashlib.sha256(strict_json.text(known, sort_keys=True).encode()).hexdigest()[:16]
    return home / FEATURES / f"{files.digest[:16]}-{prepared}-{dataset.id}"


def row_state(item: Item, exact: bool) -> int:
    """The value of `ok` for an example with features."""
    return (EXACT if exact else REDUCED) | (TRUNCATED if item.notes.get("truncated") else 0)


class FeatureCache:
    """The chunks of one folder."""

    def __init__(self, folder: Path, count: int) -> None:
        """`count`: the number of examples in the data set. The folder is created with the first chunk."""
        self.folder = folder
        self.count = count

    def ranges(self) -> list[tuple[int, int]]:
        """The chunks on disk, by their names, `(start, stop)` in ascending order."""
        names = (_CHUNK_NAME.fullmatch(path.name) for path in self.folder.glob("chunk-*.safetensors"))
        found = [(int(name[1]), int(name[2])) for name in names if name]
        return sorted((start, stop) for start, stop in found if start < stop <= self.count)

    def write(self, start: int, features: NDArray[np.float32], ok: NDArray[np.uint8]) -> None:
        """Writes the chunk of the rows from `start` on: features `(n, D)` and ok `(n)`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"chunk-{start}-{start + len(ok)}.safetensors"
        draft = path.with_name(f".{uuid.uuid4().hex}.draft")
        try:
            tensors: dict[str, NDArray[Any]] = {
                "features": np.ascontiguousarray(features, np.float32),
                "ok": np.ascontiguousarray(ok, np.uint8),
            }
            with system_errors(draft):
                save_file(tensors, draft)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def read(self) -> tuple[NDArray[np.float32] | None, NDArray[np.uint8], NDArray[np.bool_]]:
        """The rows on disk: features `(count, D)`, ok `(count)`, and which rows are known `(count)`.

        A chunk that is damaged, has another width than the first one, or is not finite is deleted and counts as missing. Features
        are None if there is no chunk.
        """
        features: NDArray[np.float32] | None = None
        ok, known = np.zeros(self.count, np.uint8), np.zeros(self.count, np.bool_)
        for start, stop in self.ranges():
            path = self.folder / f"chunk-{start}-{stop}.safetensors"
            chunk = _read_chunk(path, stop - start, None if features is None else features.shape[1])
            if chunk is None:
                path.unlink(missing_ok=True)
                (self.folder / COMPLETE).unlink(missing_ok=True)
                continue
            if features is None:
                features = np.zeros((self.count, chunk[0].shape[1]), np.float32)
            features[start:stop], ok[start:stop] = chunk
            known[start:stop] = True
        return features, ok, known

    def finish(self, width: int) -> None:
        """Marks the cache as complete: every example is in a chunk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{uuid.uuid4().hex}.draft"
        draft.write_text(strict_json.text({"count": self.count, "width": width}), encoding="utf-8")
        draft.replace(self.folder / COMPLETE)

    @property
    def complete(self) -> bool:
        """Whether the cache is marked as complete."""
        try:
            marker = strict_json.read((self.folder / COMPLETE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(marker, dict) and marker.get("count") == self.count


def chunk_size(base: Card) -> int:
    """Examples of one chunk of a base's features."""
    return SOUNDS_CHUNK if base.recipe.kind == "sound" else CHUNK


def gaps(known: NDArray[np.bool_], size: int = CHUNK) -> Iterator[tuple[int, int]]:
    """Ranges of unknown rows, each at most one chunk of `size` long."""
    start = 0
    while start < len(known):
        if known[start]:
            start += 1
            continue
        stop = start
        while stop < len(known) and stop - start < size and not known[stop]:
            stop += 1
        yield start, stop
        start = stop


def _read_chunk(path: Path, rows: int, width: int | None) -> tuple[NDArray[np.float32], NDArray[np.uint8]] | None:
    try:
        tensors = load_file(path)
        features, ok = tensors["features"], tensors["ok"]
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    fits = features.dtype == np.float32 and features.ndim == 2 and len(features) == rows and ok.shape == (rows,)
    if not fits or (width is not None and features.shape[1] != width):
        return None
    # NaN from one row may have spoiled its batch. The rows are computed again, and the worker finds the row that is not finite.
    return (features, ok.astype(np.uint8)) if np.isfinite(features).all() else None
