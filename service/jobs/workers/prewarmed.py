"""A worker that is kept ready: it has imported what jobs need, which takes torch seconds, and waits to be told its job's folder.

A head on a few hundred photos is trained in less time than its worker takes to import torch. So one is started when a job may
come soon, and is ended where none has come for some minutes: a server that nobody fine-tunes on holds no memory for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from service.observability.log import logger

log = logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerProfile:
    """What a worker is started for, which cannot be changed afterwards."""

    device: str
    threads: int


class PrewarmedWorker:
    """At most one. Everything here is called on the event loop, whose thread the processes are tied to."""

    def __init__(self, start: Callable[[WorkerProfile], Awaitable[asyncio.subprocess.Process]], keep_s: float) -> None:
        """`start` starts a process that waits on its stdin; it is ended `keep_s` after the last `expect`. 0 keeps none."""
        self._start, self._keep_s = start, keep_s
        self._suited: WorkerProfile | None = None
        self._starting: asyncio.Task[asyncio.subprocess.Process] | None = None
        self._end: asyncio.TimerHandle | None = None

    def expect(self, suited: WorkerProfile) -> None:
        """A job may come soon. Returns at once."""
        if self._keep_s <= 0:
            return
        if self._starting is not None and (self._suited != suited or _gone(self._starting)):
            self.close()
        if self._starting is None:
            self._suited = suited
            self._starting = asyncio.create_task(_started(self._start, suited), name="worker kept ready")
        if self._end is not None:
            self._end.cancel()
        self._end = asyncio.get_running_loop().call_later(self._keep_s, self.close)

    async def take(self, suited: WorkerProfile) -> asyncio.subprocess.Process | None:
        """The one that waits, which is the caller's from now on; None where none does."""
        if self._starting is None or self._suited != suited:
            return None
        starting, self._starting = self._starting, None
        self.close()
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_end)
            raise
        except OSError:
            return None
        return process if process.returncode is None else None

    def close(self) -> None:
        """Ends the one that waits, if there is one."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._starting is not None:
            self._starting.add_done_callback(_end)
            self._starting = None

    async def stop(self) -> None:
        """Ends the one that waits, and returns when it is gone."""
        starting = self._starting
        self.close()
        if starting is not None:
            with suppress(OSError):
                await (await starting).wait()


async def _started(
    start: Callable[[WorkerProfile], Awaitable[asyncio.subprocess.Process]], suited: WorkerProfile
) -> asyncio.subprocess.Process:
    try:
        return await start(suited)
    except OSError as error:
        log.warning("no worker can be kept ready", reason=error.strerror)
        raise


def _gone(starting: asyncio.Task[asyncio.subprocess.Process]) -> bool:
    """Whether it could not be started, or has ended by itself."""
    if not starting.done():
        return False
    return starting.cancelled() or starting.exception() is not None or starting.result().returncode is not None


def _end(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    if not starting.cancelled() and starting.exception() is None and starting.result().returncode is None:
        with suppress(ProcessLookupError):
            starting.result().kill()
