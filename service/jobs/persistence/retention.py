"""Removes jobs: a deleted job entirely; of a job that ended long ago, all but its row and its last event.

The folder of a job is renamed within the transaction that deletes its rows, so that no server resumes the job in between, and
removed afterwards. The next pass removes folders that a killed server left half removed. Several servers may do this at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, insert, select

from service.database import Database, DatabaseUnavailable
from service.database.tables import checkpoints, events, jobs, version_owners
from service.datasets.upload.staging import remove_path, tree_size
from service.errors import IllegalMove
from service.jobs.job_folder import JOBS, job_folder
from service.jobs.job_states import ENDED, WORKED_ON
from service.jobs.persistence.row_mapping import job_of
from service.jobs.persistence.transitions import row_of, state_of
from service.observability.log import logger

log = logger(__name__)

DELETED_PREFIX = ".deleted-"
"""Of the name of a folder that is about to be removed."""
INTERVAL_S = 3600.0
"""Between two passes."""


class Retention:
    """Removes the jobs of one home. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, home: Path, clock: Callable[[], float] = time.time) -> None:
        self._database, self._home, self._clock = database, home, clock

    async def delete(self, job_id: str) -> int:
        """Deletes a job that has ended, and returns the bytes of its folder. Raises NotFound, IllegalMove."""

        def change(connection: Connection) -> Path | None:
            row = row_of(connection, job_id, lock=True)
            if row.state not in ENDED and not (job_of(row).damaged and not self._is_held(row)):
                raise IllegalMove(
                    f"a job that is {state_of(row).upper()} cannot be deleted; cancel it and wait for its end"
                )
            _keep_owner(connection, row)
            connection.execute(delete(jobs).where(jobs.c.id == job_id))  # events and checkpoints go with it
            return self._rename_folder(job_id)

        return await self._remove(await self._database.write(change))

    def _is_held(self, row: Row[Any]) -> bool:
        """Whether a server works on the job now."""
        until = row.lease_until
        return row.state in WORKED_ON and isinstance(until, int | float) and until >= self._clock()

    async def trim(self, before: float) -> int:
        """Keeps the row and the last event of jobs that ended before a time; returns the number of jobs that had more events."""
        has_more = exists().where(events.c.job_id == jobs.c.id, events.c.sequence < jobs.c.last_event)
        old = jobs.c.state.in_(ENDED) & (jobs.c.ended < before)
        found = await self._database.read(lambda c: c.execute(select(jobs.c.id).where(old, has_more)).scalars().all())
        trimmed = 0
        for job_id in found:
            done, renamed = await self._database.write(partial(self._trim_one, job_id, old))
            trimmed += done
            await self._remove(renamed)
        return trimmed

    def _trim_one(self, job_id: str, old: ColumnElement[bool], connection: Connection) -> tuple[bool, Path | None]:
        mine = select(jobs.c.last_event).where(jobs.c.id == job_id, old).with_for_update()
        last = connection.execute(mine).scalar_one_or_none()
        if last is None:  # resumed or deleted meanwhile
            return False, None
        all_but_last = delete(events).where(events.c.job_id == job_id, events.c.sequence < last)
        if connection.execute(all_but_last).rowcount == 0:  # another server was faster
            return False, None
        connection.execute(delete(checkpoints).where(checkpoints.c.job_id == job_id))
        return True, self._rename_folder(job_id)

    async def run(self, retention_s: float) -> None:
        """Trims jobs that ended longer ago than `retention_s`, now and every hour, until it is cancelled; 0 keeps all."""
        while True:
            try:
                await asyncio.to_thread(self._sweep)
                if retention_s and (trimmed := await self.trim(self._clock() - retention_s)):
                    log.info("folders and events of old jobs were removed", jobs=trimmed)
            except DatabaseUnavailable as error:
                log.warning("the removal of old jobs waits for the database", reason=str(error))
            except Exception:
                log.exception("folders and events of old jobs could not be removed")
            await asyncio.sleep(INTERVAL_S)

    def _rename_folder(self, job_id: str) -> Path | None:
        """Renames the folder of a job for its removal. One system call, so it may be made inside a transaction."""
        renamed = self._home / JOBS / f"{DELETED_PREFIX}{job_id}-{secrets.token_hex(4)}"
        try:
            return job_folder(self._home, job_id).rename(renamed)
        except FileNotFoundError:  # the job never ran, or was trimmed
            return None

    async def _remove(self, folder: Path | None) -> int:
        if folder is None:
            return 0
        return await asyncio.to_thread(_remove_folder, folder)

    def _sweep(self) -> None:
        for folder in (self._home / JOBS).glob(f"{DELETED_PREFIX}*"):
            _remove_folder(folder)


def _keep_owner(connection: Connection, row: Row[Any]) -> None:
    """The version that a job made still belongs to its owner when the job is deleted."""
    if isinstance(row.version, int) and isinstance(row.owner, str):  # a damaged row may hold anything
        known = (version_owners.c.model == row.model) & (version_owners.c.version == row.version)
        if connection.execute(select(version_owners.c.owner).where(known)).first() is None:
            kept = insert(version_owners).values(model=row.model, version=row.version, owner=row.owner)
            connection.execute(kept)


def _remove_folder(folder: Path) -> int:
    """Removes a folder and returns its bytes; 0 where another server removes it at the same time."""
    freed = 0
    with contextlib.suppress(OSError):
        freed = tree_size(folder)
    remove_path(folder)
    return freed
