"""The stored datasets of one home: get, list, delete."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.datasets.damaged_datasets import DamagedDataset, file_signature, read_dataset
from service.datasets.dataset import DATASETS, FEATURES, DatasetInfo, DatasetKind, dataset_folder
from service.datasets.examples import is_dataset_id
from service.datasets.upload import staging
from service.errors import IllegalMove, NotFound

InUse = Callable[[str], Awaitable[bool]]

_log = structlog.get_logger(__name__)


ListedDataset = DatasetInfo | DamagedDataset


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """Datasets, including damaged ones, newest first, and the `after` of the next page (empty on the last page)."""

    datasets: tuple[ListedDataset, ...]
    next: str


async def never_in_use(dataset_id: str) -> bool:
    """No job uses a dataset."""
    return False


class Library:
    """All datasets of one home. A dataset appears by rename and never changes."""

    def __init__(self, home: Path, in_use: InUse = never_in_use) -> None:
        """`in_use` tells whether a job needs a dataset. The constructor touches no file."""
        self._home = home.absolute()
        self._in_use = in_use
        self._known: dict[str, tuple[object, ListedDataset]] = {}

    async def get(self, dataset_id: str) -> DatasetInfo:
        """One dataset. Raises NotFound, and Damaged for one that cannot be read."""
        found = await self.look(dataset_id)
        if isinstance(found, DamagedDataset):
            raise found.error()
        return found

    async def look(self, dataset_id: str) -> ListedDataset:
        """One dataset, intact or damaged. Raises NotFound."""
        found = await asyncio.to_thread(self._read, dataset_id) if is_dataset_id(dataset_id) else None
        if found is None:
            raise NotFound("dataset", dataset_id[:64])
        return found

    async def list(
        self, size: int = 50, after: str = "", kind: DatasetKind | None = None, owner: str | None = None
    ) -> DatasetPage:
        """A page of datasets, newest first; `after` is the `next` of the previous page. `owner`: None for those of all.

        A filter by `kind` leaves out damaged datasets whose kind cannot be read, and one by `owner` those whose owner cannot.
        """
        infos = await asyncio.to_thread(self._all)
        keyed = sorted(((f"{info.created.timestamp():020.6f} {info.id}", info) for info in infos), reverse=True)
        found = [
            (key, info)
            for key, info in keyed
            if (not after or key < after) and kind in (None, info.kind) and owner in (None, info.owner)
        ]
        return DatasetPage(tuple(info for _, info in found[:size]), found[size - 1][0] if len(found) > size else "")

    def _all(self) -> tuple[ListedDataset, ...]:
        try:
            names = [path.name for path in (self._home / DATASETS).iterdir() if is_dataset_id(path.name)]
        except OSError:
            names = []
        self._known = {name: known for name in names if (known := self._known.get(name)) is not None}
        return tuple(entry for name in names if (entry := self._read(name)) is not None)

    def _read(self, name: str) -> ListedDataset | None:
        """The dataset `name`, from the cache unless its files have changed: datasets are immutable, but a disk may be damaged."""
        now, known = file_signature(dataset_folder(self._home, name)), self._known.get(name)
        if known is not None and known[0] == now:
            return known[1]
        entry = read_dataset(self._home, name)
        if entry is not None:
            self._known[name] = now, entry
        if isinstance(entry, DamagedDataset):
            _log.error("dataset_damaged", dataset=name, reason=entry.reason)
        return entry

    async def delete(self, dataset_id: str, *, force: bool = False) -> int:
        """Remove a dataset and the features computed from it; returns the freed bytes.

        Raises NotFound, and IllegalMove while a job uses the dataset, unless `force` is set.
        """
        await self.look(dataset_id)
        if not force and await self._in_use(dataset_id):
            raise IllegalMove(f"dataset {dataset_id!r} is used by a job; cancel the job or set force")
        freed = await asyncio.to_thread(self._delete, dataset_id)
        _log.info("dataset_deleted", dataset=dataset_id, freed_bytes=freed, force=force)
        return freed

    def _delete(self, dataset_id: str) -> int:
        grave = self._home / DATASETS / f"{staging.DELETED}{uuid.uuid4().hex}"
        try:
            dataset_folder(self._home, dataset_id).rename(grave)  # atomic: a dataset is never half deleted
        except FileNotFoundError:
            raise NotFound("dataset", dataset_id) from None
        graves = [grave, *(self._home / FEATURES).glob(f"*-{dataset_id}")]
        freed = sum(map(staging.tree_size, graves))
        for folder in graves:
            staging.remove_path(folder)
        return freed
