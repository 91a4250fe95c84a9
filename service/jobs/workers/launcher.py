"""Starts workers. The supervisor and the runner know two protocols; here, workers are child processes of this process.

The engine of a cluster may take their place: it has to start `service.training.worker` where the job's folder can be read and
written, and to carry lines in both directions.

A worker imports torch for seconds, and a head on a few hundred photos trains in less. So the launcher keeps one prewarmed worker
while a job is likely to come: a process that has imported everything and waits on its standard input for the folder of its job.
It is ended when no job has come for some minutes: a server without fine-tuning holds no memory for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from model_zoo import strict_json
from service.jobs.workers import bootstrap
from service.observability.log import logger
from service.processes import AsyncChildProcess, LineTooLong
from service.training.job_spec import WorkOrder
from service.training.protocol import WAIT, Assignment

WORKER = (sys.executable, "-m", "service.training.worker")
LINE_LIMIT = 1024 * 1024
"""Bytes of one line of a worker; a longer one is dropped."""
LOCK = ".lock"
LOG = "log.txt"

log = logger(__name__)


class Worker(Protocol):
    """One running worker."""

    @property
    def name(self) -> str:
        """For logs."""

    async def read_line(self) -> bytes | None:
        """The next line that it writes, without the newline; empty for a line over the limit, None at the end."""

    def send(self, word: str) -> None:
        """Sends it one word. Does nothing where it has ended."""

    def suspend(self) -> None:
        """Stops it where it is, at once, until `resume`."""

    def resume(self) -> None:
        """Lets it continue."""

    def kill(self) -> None:
        """Ends it at once, suspended or not."""

    async def wait(self) -> int:
        """Waits for its end and returns its exit code; below 0, the signal that ended it."""

    def starved_s(self) -> float:
        """Seconds, up to now, in which it could run and got no core. Never decreases; 0 where the system does not tell."""


@dataclass(frozen=True, slots=True)
class WorkerProfile:
    """What a worker is started for and cannot change afterwards."""

    device: str
    threads: int


class Launcher(Protocol):
    """Starts workers."""

    async def start(self, order: WorkOrder, folder: Path) -> Worker:
        """Starts a worker on the order in a job's folder. Raises OSError where none can be started."""

    def prewarm(self, profile: WorkerProfile) -> None:
        """Prepares for a job that is likely to come soon. Returns at once."""

    async def stop(self) -> None:
        """Ends what was prepared: no job comes any more."""


class ProcessLauncher:
    """Workers as child processes of a low priority, which cannot outlive this process.

    `niceness` 19 comes with the idle scheduling class where the system has one; 0 changes no priority.
    Call `start` in a thread that lives as long as the process does: see `bootstrap.py`.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        niceness: int = 19,
        prewarm_s: float = 0.0,
    ) -> None:
        """`command`: `WORKER` by default. The folder of a job is appended, or `--wait` for a prewarmed worker, which is kept for
        `prewarm_s`."""
        self._command, self._niceness = tuple(command or WORKER), niceness
        self._prewarmed = PrewarmedWorker(self._start_waiting, prewarm_s)

    def prewarm(self, profile: WorkerProfile) -> None:
        """See Launcher."""
        self._prewarmed.start(profile)

    async def stop(self) -> None:
        """See Launcher."""
        await self._prewarmed.stop()

    async def start(self, order: WorkOrder, folder: Path) -> Worker:
        """See Launcher."""
        profile = WorkerProfile(order.device, order.threads)
        if (waiting := await self._prewarmed.take(profile)) is not None:
            waiting.write_line(strict_json.text(Assignment(folder=folder, lock=folder / LOCK)).encode())
            return ProcessWorker(waiting)
        with ExitStack() as stack:
            stderr: IO[bytes] | int = asyncio.subprocess.DEVNULL
            with suppress(OSError):  # a job does not fail for want of a log
                stderr = stack.enter_context((folder / LOG).open("ab"))
            return ProcessWorker(await self._start(profile, str(folder), folder / LOCK, stderr))

    async def _start_waiting(self, profile: WorkerProfile) -> AsyncChildProcess:
        return await self._start(profile, WAIT, None, asyncio.subprocess.DEVNULL)

    async def _start(
        self, profile: WorkerProfile, argument: str, lock: Path | None, stderr: IO[bytes] | int
    ) -> AsyncChildProcess:
        run_first = (sys.executable, "-IS", bootstrap.__file__)
        arguments = (str(os.getpid()), str(self._niceness), "" if lock is None else str(lock))
        return await AsyncChildProcess.start(
            (*run_first, *arguments, *self._command, argument),
            env=environment(os.environ, profile),
            stderr=stderr,
            line_limit=LINE_LIMIT,
            # A group of its own, so that Ctrl-C in the server's terminal reaches the server alone. Not a session of its own:
            # Linux gives each session an equal share of the cores, however nice its processes are (sched(7), autogroup).
            own_session=False,
        )


def environment(parent: Mapping[str, str], profile: WorkerProfile) -> dict[str, str]:
    """The environment of a worker: without the server's settings and those of its traces, which may hold passwords."""
    variables = {name: value for name, value in parent.items() if not name.startswith(("ZOO_", "OTEL_"))}
    threads = str(profile.threads)
    variables |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    variables |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    if profile.device == "cpu":
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables


class ProcessWorker:
    """A worker that is a child process. Signals go to its group, so that its own children receive them."""

    def __init__(self, process: AsyncChildProcess) -> None:
        self._process = process
        self._starved_s = 0.0
        self._delays = self._delay_by_thread()

    @property
    def name(self) -> str:
        """For logs."""
        return f"pid {self._process.pid}"

    async def read_line(self) -> bytes | None:
        """See Worker."""
        try:
            return await self._process.read_line()
        except LineTooLong:
            return b""

    def send(self, word: str) -> None:
        """See Worker."""
        self._process.write_line(word.encode())

    def suspend(self) -> None:
        """See Worker."""
        self._process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """See Worker."""
        self._process.signal(signal.SIGCONT)

    def kill(self) -> None:
        """See Worker."""
        self._process.kill()

    async def wait(self) -> int:
        """See Worker."""
        return await self._process.wait()

    def starved_s(self) -> float:
        """See Worker. Adds the delay of the thread that waited longest since the last call. Reads `/proc` in microseconds."""
        delays = self._delay_by_thread()
        grown = (delay - self._delays.get(thread, 0.0) for thread, delay in delays.items())
        self._starved_s += max(grown, default=0.0)
        self._delays = delays
        return self._starved_s

    def _delay_by_thread(self) -> dict[str, float]:
        """Seconds for which each thread has waited for a core since it started."""
        delays = {}
        with suppress(OSError, ValueError, IndexError):
            for task in Path(f"/proc/{self._process.pid}/task").iterdir():
                delays[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
        return delays


# ── the prewarmed worker ──────────────────────────────────────────────────────────────────────────────────────────


class PrewarmedWorker:
    """At most one process that waits for a job. Every method is called on the event loop, whose thread owns the processes."""

    def __init__(self, start: Callable[[WorkerProfile], Awaitable[AsyncChildProcess]], keep_s: float) -> None:
        """`start` starts a process that waits on its stdin; it is ended `keep_s` after the last `start`. 0 keeps none."""
        self._start_process, self._keep_s = start, keep_s
        self._profile: WorkerProfile | None = None
        self._starting: asyncio.Task[AsyncChildProcess] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is a process that starts or waits."""
        return self._starting is not None

    def start(self, profile: WorkerProfile) -> None:
        """Starts a process for the profile unless one waits already, and keeps it for another `keep_s`. Returns at once."""
        if self._keep_s <= 0:
            return
        if self._starting is not None and (self._profile != profile or _has_ended(self._starting)):
            self.discard()
        if self._starting is None:
            self._profile = profile
            self._starting = asyncio.create_task(self._start_or_log(profile), name="prewarmed worker")
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = asyncio.get_running_loop().call_later(self._keep_s, self.discard)

    async def take(self, profile: WorkerProfile) -> AsyncChildProcess | None:
        """Gives the process that waits to the caller, who owns it from now on; None where none waits for this profile."""
        if self._starting is None or self._profile != profile:
            return None
        starting, self._starting = self._starting, None
        self.discard()
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_kill)
            raise
        except OSError:
            return None
        return process if process.returncode is None else None

    def discard(self) -> None:
        """Ends the process that waits, if there is one."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._starting is not None:
            self._starting.add_done_callback(_kill)
            self._starting = None

    async def stop(self) -> None:
        """Ends the process that waits, and returns after its end."""
        starting = self._starting
        self.discard()
        if starting is not None:
            with suppress(OSError):
                await (await starting).wait()

    async def _start_or_log(self, profile: WorkerProfile) -> AsyncChildProcess:
        try:
            return await self._start_process(profile)
        except OSError as error:
            log.warning("no worker can be prewarmed", reason=error.strerror)
            raise


def _has_ended(starting: asyncio.Task[AsyncChildProcess]) -> bool:
    """Whether the process could not be started, or has ended by itself."""
    if not starting.done():
        return False
    return starting.cancelled() or starting.exception() is not None or starting.result().returncode is not None


def _kill(starting: asyncio.Task[AsyncChildProcess]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().kill()
