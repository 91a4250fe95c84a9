"""The processes that take part in a measurement: started, sent commands in JSON lines, paused while others run, and ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.paths import LOGS, ROOT

READY_S = 180.0
SETTLE_S = 0.3


class Process:
    """A child process and its descendants; use it as a context manager. A child without `log` takes commands by `ask`."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        log: str | None = None,
        folder: Path = ROOT,
    ) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{log}.log" if log else None
        # A file and not a pipe: the harness does not read along, and a full pipe would block the server.
        sink = self.log.open("w") if self.log else None
        self._child = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL if sink else subprocess.PIPE,
            stdout=sink or subprocess.PIPE,
            stderr=subprocess.STDOUT if sink else None,
            text=True,
        )
        if sink:
            sink.close()
        self._process = psutil.Process(self._child.pid)

    pausable = True
    """Whether the process survives `pause`."""

    # ── commands in JSON lines ────────────────────────────────────────────────────────────────────────────────

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Send a command and return the answer. Raises ParticipantFailed."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(command) + "\n")
        self._child.stdin.flush()
        for line in self._child.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                if "failed" in answer:
                    raise ParticipantFailed(answer["failed"])
                return answer
        raise ParticipantFailed(f"{self._child.args!r} ended early")

    # ── server ────────────────────────────────────────────────────────────────────────────────────────────────

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait for `ready`. Raises ParticipantFailed with the last lines of the log if the process ends or READY_S pass."""
        end = time.monotonic() + READY_S
        while not ready():
            if self._child.poll() is not None or time.monotonic() > end:
                state = "ended" if self._child.poll() is not None else f"was not ready after {READY_S:.0f} s"
                raise ParticipantFailed(f"{what} {state}:\n{self.log_tail()}")
            time.sleep(0.2)

    def log_events(self) -> list[dict[str, Any]]:
        """The JSON lines of the log so far."""
        assert self.log is not None
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:  # not written completely yet
                    continue
        return found

    def log_tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log else ""

    # ── resources ─────────────────────────────────────────────────────────────────────────────────────────────

    def tree(self) -> list[psutil.Process]:
        """The process, then all its descendants."""
        return [self._process, *self._process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Processor time of the whole tree so far."""
        return sum(_cpu_seconds(process) for process in self.tree())

    def peak_mib(self) -> float:
        """The sum of the peak memory of each process of the tree, in MiB; shared pages count for each process."""
        return sum(_status_kib(process.pid, "VmHWM") for process in self.tree()) / 2**10

    def pss_mib(self) -> float:
        """The memory of the tree now, in MiB; pages that its processes share count once."""
        return sum(process.memory_full_info().pss for process in self.tree()) / 2**20

    def pause(self) -> None:
        """Stop the tree, so that its idle work takes no processor time from the participant that is measured."""
        if self.pausable:
            for process in self.tree():
                process.send_signal(signal.SIGSTOP)

    def resume(self, settle_s: float = SETTLE_S) -> None:
        """Undo `pause`: children first, so that a parent that watches them does not take one for dead. Then waits a while."""
        if self.pausable:
            for process in reversed(self.tree()):
                process.send_signal(signal.SIGCONT)
        time.sleep(settle_s)

    # ── end ───────────────────────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            tree = self.tree()
            self.resume()
            if self._child.stdin:
                self._child.stdin.close()  # the end of its commands
            else:
                self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self._child.kill()
            for process in tree[1:]:  # descendants that the parent did not end
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
        self._child.wait()


class ParticipantFailed(Exception):
    """A participant could not be started; the run goes on without it and reports it. The text holds the end of its log."""


def start_module(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None, log: str | None = None
) -> Process:
    """Start a module of this package, such as `load.client`, in a process of its own."""
    return Process([sys.executable, "-m", f"benchmarks.{name}", *arguments], environment, log)


def free_port() -> int:
    """A free port of the loopback interface."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _cpu_seconds(process: psutil.Process) -> float:
    """Processor time of one process, in nanoseconds where Linux tells it: elsewhere a hundredth of a second is the unit."""
    try:
        # The clock of a process, as `clock_getcpuclockid` makes it: https://man7.org/linux/man-pages/man2/clock_getres.2.html
        return time.clock_gettime((~process.pid << 3) | 2)
    except OSError:
        return float(sum(process.cpu_times()[:2]))


def _status_kib(pid: int, field: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{field}:")[1].split()[0])
