"""Where workers come from. Supervisors know the two protocols; children of this process are what is behind them here.

A cluster's engine may take their place: it has to start `service.training.worker` with a job's folder within reach, and to carry
lines both ways.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Protocol

from model_zoo import strict_json
from service.jobs.workers import bootstrap
from service.jobs.workers.prewarmed import PrewarmedWorker, WorkerProfile
from service.training.job_spec import WorkOrder
from service.training.protocol import WAIT, Assignment

LONGEST_LINE = 1024 * 1024
"""Bytes of one line; a longer one is thrown away."""
LOCK = ".lock"
LOG = "log.txt"


class Worker(Protocol):
    """One running worker."""

    @property
    def name(self) -> str:
        """For logs."""

    async def line(self) -> bytes | None:
        """The next line that it says, without its end; empty for one that was too long, None at the end of all."""

    def say(self, word: str) -> None:
        """Tells it a word. Does nothing where it is gone."""

    def hold(self) -> None:
        """Lets it rest where it is, at once, until `go`."""

    def go(self) -> None:
        """Lets it go on."""

    def kill(self) -> None:
        """Ends it at once, held or not."""

    async def wait(self) -> int:
        """Its exit code; below 0, the signal that ended it."""

    def starved_s(self) -> float:
        """For how long, up to now, it wanted to run and got no core. Rises; 0 where that is not known."""


class Launcher(Protocol):
    """Starts workers."""

    async def start(self, order: WorkOrder, folder: Path) -> Worker:
        """A worker on the order that lies in a job's folder. Raises OSError where it cannot be started."""

    def expect(self, suited: WorkerProfile) -> None:
        """A job may come soon: have a worker ready, if that is worth it here. Returns at once."""

    async def stop(self) -> None:
        """No job will come any more."""


class ProcessLauncher:
    """Workers as child processes at the lowest priority, which cannot outlive this process.

    `nice` 19 comes with the idle scheduling class, where there is one; 0 leaves them as they are.
    `start` must be called in a thread that lives as long as the process does: see `bootstrap.py`.
    """

    def __init__(
        self,
        command: Sequence[str] = (sys.executable, "-m", "service.training.worker"),
        nice: int = 19,
        ready_s: float = 0.0,
    ) -> None:
        """`command` is followed by a job's folder, or by `--wait` where it is to wait for one, `ready_s` long."""
        self._command, self._nice = tuple(command), nice
        self._ready = PrewarmedWorker(self._start_waiting, ready_s)

    def expect(self, suited: WorkerProfile) -> None:
        """See Launcher."""
        self._ready.expect(suited)

    async def stop(self) -> None:
        """See Launcher."""
        await self._ready.stop()

    async def start(self, order: WorkOrder, folder: Path) -> Worker:
        """See Launcher."""
        suited = WorkerProfile(order.device, order.threads)
        if (waiting := await self._ready.take(suited)) is not None:
            assert waiting.stdin is not None
            waiting.stdin.write(f"{strict_json.text(Assignment(folder=folder, lock=folder / LOCK))}\n".encode())
            return ProcessWorker(waiting)
        with ExitStack() as opened:
            log: IO[bytes] | int = asyncio.subprocess.DEVNULL
            with suppress(OSError):  # no log is no reason to fail the job
                log = opened.enter_context((folder / LOG).open("ab"))
            return ProcessWorker(await self._start(suited, str(folder), folder / LOCK, log))

    async def _start_waiting(self, suited: WorkerProfile) -> asyncio.subprocess.Process:
        return await self._start(suited, WAIT, None, asyncio.subprocess.DEVNULL)

    async def _start(
        self, suited: WorkerProfile, argument: str, lock: Path | None, log: IO[bytes] | int
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-IS",
            bootstrap.__file__,
            str(os.getpid()),
            str(self._nice),
            "" if lock is None else str(lock),
            *self._command,
            argument,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=LONGEST_LINE,
            env=environment(os.environ, suited),
            # A group of its own, so that Ctrl-C in the server's terminal is the server's alone. Not a session of its own:
            # Linux gives each session an equal share of the cores, however nice its processes are (sched(7), autogroup).
            process_group=0,
        )


def environment(mine: Mapping[str, str], suited: WorkerProfile) -> dict[str, str]:
    """What a worker finds in its environment: nothing of the server's settings, which may hold passwords."""
    theirs = {name: value for name, value in mine.items() if not name.startswith("ZOO_")}
    threads = str(suited.threads)
    theirs |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    theirs |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    if suited.device == "cpu":
        theirs["CUDA_VISIBLE_DEVICES"] = ""
    return theirs


class ProcessWorker:
    """A child process. Signals go to its group, so that its own children hear them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._starved_s = 0.0
        self._delays = self._waits()

    @property
    def name(self) -> str:
        """For logs."""
        return f"pid {self._process.pid}"

    async def line(self) -> bytes | None:
        """See Worker."""
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
        except ValueError:  # longer than the limit; the reader has thrown it away
            return b""
        return line.rstrip(b"\n") if line else None

    def say(self, word: str) -> None:
        """See Worker."""
        assert self._process.stdin is not None
        if self._process.returncode is None and not self._process.stdin.is_closing():
            with suppress(OSError, RuntimeError):
                self._process.stdin.write(f"{word}\n".encode())

    def hold(self) -> None:
        """See Worker."""
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        """See Worker."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """See Worker."""
        self._signal(signal.SIGKILL)

    async def wait(self) -> int:
        """See Worker."""
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def starved_s(self) -> float:
        """Of its threads, the one that waited longest counts; each since the last call. Reads `/proc`, microseconds."""
        delays = self._waits()
        grown = (delay - self._delays.get(thread, 0.0) for thread, delay in delays.items())
        self._starved_s += max(grown, default=0.0)
        self._delays = delays
        return self._starved_s

    def _waits(self) -> dict[str, float]:
        """Seconds for which each thread waited for a core, ever."""
        delays = {}
        with suppress(OSError, ValueError, IndexError):
            for task in Path(f"/proc/{self._process.pid}/task").iterdir():
                delays[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
        return delays

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
