"""The processes that take part in a measurement: started, spoken to in JSON lines, stopped between turns, and ended."""

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

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / "benchmarks" / "results" / "logs"
READY_S = 180.0
SETTLE_S = 0.3


class Process:
    """A child and what it starts in turn; use it as a context manager. Without `log` it is spoken to by `ask`."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        log: str | None = None,
        folder: Path = ROOT,
    ) -> None:
        LOGS.mkdir(parents=True, exist_ok=True)
        self.log = LOGS / f"{log}.log" if log else None
        # A file, not a pipe: nobody reads along, and a full pipe would halt the server.
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
        self._watch = psutil.Process(self._child.pid)

    pausable = True
    """Whether it survives `pause`."""

    # ── in JSON lines ─────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Sends an order, gives the answer. Raises PeerFailed."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(order) + "\n")
        self._child.stdin.flush()
        for line in self._child.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                if "failed" in answer:
                    raise PeerFailed(answer["failed"])
                return answer
        raise PeerFailed(f"{self._child.args!r} ended early")

    # ── as a server ───────────────────────────────────────────────────────────────────────────────────────────

    def wait_until(self, ready: Callable[[], bool], what: str) -> None:
        """Returns when `ready`; ends the run with the log's last lines if that never comes."""
        end = time.monotonic() + READY_S
        while not ready():
            if self._child.poll() is not None or time.monotonic() > end:
                state = "ended" if self._child.poll() is not None else f"did nothing for {READY_S:.0f} s"
                raise PeerFailed(f"{what} {state}:\n{self.tail()}")
            time.sleep(0.2)

    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of its log so far."""
        assert self.log is not None
        found = []
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                try:
                    found.append(json.loads(line))
                except ValueError:  # not whole yet
                    continue
        return found

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:]) if self.log else ""

    # ── watched ───────────────────────────────────────────────────────────────────────────────────────────────

    def tree(self) -> list[psutil.Process]:
        """Itself, then all that it started."""
        return [self._watch, *self._watch.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Processor time of the whole tree so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.tree())

    def peak_mib(self) -> float:
        """The most memory that each process of the tree ever held, summed, in MiB; pages they share count for each."""
        return sum(_status_kib(process.pid, "VmHWM") for process in self.tree()) / 2**10

    def pss_mib(self) -> float:
        """Memory that the tree holds now, pages shared within it counted once, in MiB."""
        return sum(process.memory_full_info().pss for process in self.tree()) / 2**20

    def pause(self) -> None:
        """Takes the tree off the processor, so that what it does when idle costs nobody else's turn."""
        if self.pausable:
            for process in self.tree():
                process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `pause`: children first, so that none looks dead to a parent that watches it."""
        if self.pausable:
            for process in reversed(self.tree()):
                process.send_signal(signal.SIGCONT)
        time.sleep(SETTLE_S)

    # ── ended ─────────────────────────────────────────────────────────────────────────────────────────────────

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.poll() is None:
            tree = self.tree()
            self.resume()
            if self._child.stdin:
                self._child.stdin.close()  # the end of its orders
            else:
                self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self._child.kill()
            for process in tree[1:]:  # what the parent left behind
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
        self._child.wait()


class PeerFailed(Exception):
    """A participant could not be started; the run goes on without it and says so. The text carries the end of its log."""


def module(name: str, *arguments: str, environment: Mapping[str, str] | None = None, log: str | None = None) -> Process:
    """A module of this package in a process of its own."""
    return Process([sys.executable, "-m", f"benchmarks.{name}", *arguments], environment, log)


def free_port() -> int:
    """A port that nobody listens on, on loopback."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _status_kib(pid: int, field: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{field}:")[1].split()[0])
