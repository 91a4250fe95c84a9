"""The datasets that are there: shown, listed, deleted."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from service.datasets import staging
from service.datasets.dataset import DATASETS, FEATURES, DatasetInfo, DatasetKind, dataset_folder
from service.datasets.examples import read_info
from service.datasets.validate import INFO
from service.errors import IllegalMove, NotFound

InUse = Callable[[str], Awaitable[bool]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """Datasets, the newest first, and after which the next page begins (empty on the last)."""

    datasets: tuple[DatasetInfo, ...]
    next: str


async def nobody(dataset_id: str) -> bool:
    """No job uses anything."""
    return False


class Library:
    """All datasets of one home. They appear by rename and never change."""

    def __init__(self, home: Path, in_use: InUse = nobody) -> None:
        """`in_use` says whether a job needs a dataset. Touches no file."""
        self._home = home.absolute()
        self._in_use = in_use
        self._infos: dict[str, DatasetInfo] = {}

    async def get(self, dataset_id: str) -> DatasetInfo:
        """One dataset. Raises NotFound."""
        info = await asyncio.to_thread(read_info, self._home, dataset_id)
        if info is None:
            raise NotFound("dataset", dataset_id[:64])
        return info

    async def list(self, size: int = 50, after: str = "", kind: DatasetKind | None = None) -> Page:
        """A page of datasets, the newest first; `after` is the `next` of the page before."""
        infos = await asyncio.to_thread(self._all)
        keyed = sorted(((f"{info.created.timestamp():020.6f} {info.id}", info) for info in infos), reverse=True)
        found = [
            (key, info) for key, info in keyed if (not after or key < after) and (kind is None or info.kind == kind)
        ]
        return Page(tuple(info for _, info in found[:size]), found[size - 1][0] if len(found) > size else "")

    def _all(self) -> tuple[DatasetInfo, ...]:
        """They never change, so each is read once."""
        names = [path.parent.name for path in (self._home / DATASETS).glob(f"[0-9a-f]*/{INFO}")]
        found = {name: info for name in names if (info := self._infos.get(name) or read_info(self._home, name))}
        self._infos = found
        return tuple(found.values())

    async def delete(self, dataset_id: str, *, force: bool = False) -> int:
        """Remove a dataset, and what was computed of it; gives the bytes that came back.

        Raises NotFound, and IllegalMove while a job uses it, unless `force` is set.
        """
        await self.get(dataset_id)
        if not force and await self._in_use(dataset_id):
            raise IllegalMove(f"dataset {dataset_id!r} is used by a job; cancel the job or set force")
        freed = await asyncio.to_thread(self._delete, dataset_id)
        _log.info("dataset_deleted", dataset=dataset_id, freed_bytes=freed, force=force)
        return freed

    def _delete(self, dataset_id: str) -> int:
        grave = self._home / DATASETS / f"{staging.DELETED}{uuid.uuid4().hex}"
        try:
            dataset_folder(self._home, dataset_id).rename(grave)  # gone at once, and never half there
        except FileNotFoundError:
            raise NotFound("dataset", dataset_id) from None
        graves = [grave, *(self._home / FEATURES).glob(f"*-{dataset_id}")]
        freed = sum(map(staging.size_of, graves))
        for folder in graves:
            shutil.rmtree(folder, ignore_errors=True)
        return freed
