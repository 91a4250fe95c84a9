"""What is forgotten of jobs: all of one that is deleted; of those that ended long ago, all but what became of them.

A folder is renamed in the transaction that forgets what the database had of it, so that nobody resumes the job in between, and
removed afterwards. What a killed server left half removed, the next pass finds. Several servers may do all of this at once.
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

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, select

from service.database import Database, DatabaseUnavailable
from service.database.tables import checkpoints, events, jobs
from service.datasets.upload.staging import remove_path, tree_size
from service.errors import IllegalMove
from service.jobs.job_folder import JOBS, job_folder
from service.jobs.job_states import ENDED, WORKED_ON
from service.jobs.persistence.row_mapping import job_of
from service.jobs.persistence.transitions import row_of, state_of
from service.observability.log import logger

log = logger(__name__)

ASIDE = ".deleted-"
"""How the name of a folder begins that is about to be removed."""
EVERY_S = 3600.0
"""Between two passes."""


class Retention:
    """Of all jobs of a home. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, home: Path, clock: Callable[[], float] = time.time) -> None:
        self._database, self._home, self._clock = database, home, clock

    async def delete(self, job_id: str) -> int:
        """Forgets a job that has ended, and gives the bytes of its folder. Raises NotFound, IllegalMove."""

        def change(connection: Connection) -> Path | None:
            row = row_of(connection, job_id, lock=True)
            if row.state not in ENDED and not (job_of(row).damaged and not self._held(row)):
                raise IllegalMove(
                    f"a job that is {state_of(row).upper()} cannot be deleted; cancel it and wait for its end"
                )
            connection.execute(delete(jobs).where(jobs.c.id == job_id))  # events and checkpoints go with it
            return self._put_aside(job_id)

        return await self._remove(await self._database.write(change))

    def _held(self, row: Row[Any]) -> bool:
        """Whether a server works on a job at this moment."""
        until = row.lease_until
        return row.state in WORKED_ON and isinstance(until, int | float) and until >= self._clock()

    async def trim(self, before: float) -> int:
        """Of jobs that ended before a time, keeps the row and the last event; gives how many jobs had more."""
        more = exists().where(events.c.job_id == jobs.c.id, events.c.sequence < jobs.c.last_event)
        old = jobs.c.state.in_(ENDED) & (jobs.c.ended < before)
        found = await self._database.read(lambda c: c.execute(select(jobs.c.id).where(old, more)).scalars().all())
        trimmed = 0
        for job_id in found:
            done, aside = await self._database.write(partial(self._trim_one, job_id, old))
            trimmed += done
            await self._remove(aside)
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
        return True, self._put_aside(job_id)

    async def keep_up(self, retention_s: float) -> None:
        """Trims jobs that ended longer ago than that, now and every hour; 0 keeps them. Until it is cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._sweep)
                if retention_s and (trimmed := await self.trim(self._clock() - retention_s)):
                    log.info("what old jobs left was removed", jobs=trimmed)
            except DatabaseUnavailable as error:
                log.warning("old jobs wait for the database", reason=str(error))
            except Exception:
                log.exception("what old jobs left could not be removed")
            await asyncio.sleep(EVERY_S)

    def _put_aside(self, job_id: str) -> Path | None:
        """Takes but a rename, so it may be done inside a transaction."""
        aside = self._home / JOBS / f"{ASIDE}{job_id}-{secrets.token_hex(4)}"
        try:
            return job_folder(self._home, job_id).rename(aside)
        except FileNotFoundError:  # it never ran, or was trimmed
            return None

    async def _remove(self, aside: Path | None) -> int:
        if aside is None:
            return 0
        return await asyncio.to_thread(_removed, aside)

    def _sweep(self) -> None:
        for aside in (self._home / JOBS).glob(f"{ASIDE}*"):
            _removed(aside)


def _removed(folder: Path) -> int:
    """Removes a folder and gives its bytes; 0 where another server is about to remove it, too."""
    freed = 0
    with contextlib.suppress(OSError):
        freed = tree_size(folder)
    remove_path(folder)
    return freed
