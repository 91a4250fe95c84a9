"""Programs in forks of one process that has imported torch and the server: a cold start takes seconds, a fork takes none.

    test ── order and descriptors over a socket ──► preloaded process ── fork ──► keeper ── fork ──► program

The keeper waits for its program and sends its exit code back. `python -m tests.support.preloaded_process` is the preloaded
process; there is one for each process of tests. Tests that depend on how an interpreter starts (its environment, its locale,
closed streams), or on memory, start it cold.

Imports only the standard library, since the environment of the stock clients has nothing of Zoo.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from tests.support.paths import REPOSITORY

PYTHON = REPOSITORY / ".venv" / "bin" / "python"
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
ORDER_BYTES = 1 << 20
IMPORTED = (
    "service.server",
    "service.training.methods.tabular",
    "timm",
    "torch._dynamo",
    "transformers.models.bert.modeling_bert",
)
"""The modules of the preloaded process. Those that run as `-m` are not among them: they run as a new module."""


class PreloadedProcess:
    """A program in a fork, with the methods of `subprocess.Popen` that tests use."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int | IO[Any] = DEVNULL,
        stdout: int | IO[Any] = DEVNULL,
        stderr: int | IO[Any] = DEVNULL,
    ) -> None:
        """`command`: `zoo …`, or what follows `python`: `-m MODULE …` or `-c CODE …`. Pipes are of text."""
        given, kept = zip(
            _stream(stdin, reads=True), _stream(stdout, reads=False), _stream(stderr, reads=False), strict=True
        )
        status, status_end = os.pipe()
        variables = dict(os.environ if env is None else env)
        order = {"command": [*map(str, command)], "cwd": str(cwd or Path.cwd()), "environment": variables}
        socket.send_fds(_orders(), [json.dumps(order).encode()], [*given, status_end])
        for fd in (*given, status_end):
            os.close(fd)
        self._status = os.fdopen(status, "r", encoding="ascii")
        self.pid = int(self._status.readline())
        self.returncode: int | None = None
        self.stdin = None if kept[0] is None else os.fdopen(kept[0], "w", encoding="utf-8")
        self.stdout, self.stderr = (None if fd is None else os.fdopen(fd, encoding="utf-8") for fd in kept[1:])

    def poll(self) -> int | None:
        """The exit code once the program has ended; below 0, the signal that ended it."""
        if self.returncode is None and select.select([self._status], [], [], 0)[0]:
            self._reap()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Waits for the end and returns the exit code. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a preloaded process", timeout or 0.0)
            self._reap()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal. Does nothing where the program has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> PreloadedProcess:
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the pipes and waits."""
        try:
            for pipe in (self.stdout, self.stderr, self.stdin):
                if pipe is not None:
                    pipe.close()
        finally:
            self.wait()

    def _reap(self) -> None:
        self.returncode = int(self._status.readline())
        self._status.close()


def _stream(wanted: int | IO[Any], reads: bool) -> tuple[int, int | None]:
    """The descriptor that the program gets, and the end of its pipe that stays here."""
    if wanted == PIPE:
        reading, writing = os.pipe()
        return (reading, writing) if reads else (writing, reading)
    if wanted == DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    return os.dup(wanted if isinstance(wanted, int) else wanted.fileno()), None


@cache
def _orders() -> socket.socket:
    """The socket of the preloaded process, which ends when this one does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ZOO_")}
    process = subprocess.Popen(
        [PYTHON, "-m", __name__], cwd=REPOSITORY, stdin=its, env=inherited | {"ZOO_OFFLINE": "1"}
    )
    its.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


# ── the preloaded process ─────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Forks for each order. Returns, in the fork, with the end of its program."""
    for name in IMPORTED:
        __import__(name)
    gc.freeze()  # a collection in a fork neither visits nor copies what all forks share
    orders = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are reaped by the kernel
    while True:
        data, fds, _, _ = socket.recv_fds(orders, ORDER_BYTES, 4)
        if not data:
            return
        if os.fork() == 0:
            orders.close()
            break
        for fd in fds:
            os.close(fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, status = fds
    pid = os.fork()
    if pid:
        _keep(pid, status)
    os.close(status)
    _run(json.loads(data), streams)


def _keep(pid: int, status: int) -> None:
    """Sends the id of the program, waits for it and sends its exit code. Holds no other descriptor. Does not return."""
    os.write(status, f"{pid}\n".encode())
    ours = os.dup2(status, 3)
    os.closerange(0, 3)
    os.closerange(4, 4096)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _, ended = os.waitpid(pid, 0)
    try:
        os.write(ours, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    finally:
        os._exit(0)


def _run(order: dict[str, Any], streams: list[int]) -> None:
    """Becomes the program: its streams, its environment, its folder and its arguments."""
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    # The interpreter's own streams have the settings of the preloaded process.
    sys.stdin, sys.stdout, sys.stderr = _text(0, "r"), _text(1, "w"), _text(2, "w", errors="backslashreplace")
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["environment"])
    match order["command"]:
        case ["zoo", *_]:
            from service.cli.main import main as zoo

            sys.argv = order["command"]
            sys.exit(zoo())
        case ["-m", module, *arguments]:
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *arguments]:
            sys.argv = ["-c", *arguments]
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})


def _text(number: int, mode: str, errors: str = "strict") -> Any:
    """A standard stream. Its descriptor stays open where another object takes its place."""
    return os.fdopen(number, mode, buffering=1, encoding="utf-8", errors=errors, closefd=False)


if __name__ == "__main__":
    main()
