"""Programs in forks of one process that has imported torch and the server: a cold start takes seconds, a fork takes none.

    test ── order and descriptors over a socket ──► preloaded process ── fork ──► keeper ── fork ──► program

The keeper waits for its program and sends its exit code back. `python -m tests.support.preloaded_process` is the preloaded
process; there is one for each process of tests. Tests that depend on how an interpreter starts (its environment, its locale,
closed streams), or on memory, start it cold.

The processes in which programs pull networks or run jobs are forks as well (`forked_worker.py`): each would import torch, and
the makers' library, which takes ten seconds. `tests/references/test_pull_process.py` and `tests/training/test_worker.py` start
them cold.

Imports only the standard library, since the environment of the stock clients has nothing of Zoo.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from tests.support.paths import REPOSITORY

PYTHON = REPOSITORY / ".venv" / "bin" / "python"
PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL
ORDER_BYTES = 1 << 20
DESCRIPTORS = 16
"""Of an order, at most: its status, its three streams, and what else its program holds."""
IMPORTED = (
    "service.server",
    "service.training.methods.tabular",
    "timm",
    "torch._dynamo",
    "transformers.models.bert.modeling_bert",
)
"""The modules of the preloaded process. Those that run as `-m` are not among them: they run as a new module."""
IMPORTED_TO_PULL = ("service.references.pull", "sentence_transformers", "peft", "transformers.pipelines")
"""Further modules, imported before the first pull."""
STARTING_WORKERS = (
    "service.references.pull_process",
    "service.references.library_process",
    "service.jobs.workers.launcher",
)
"""Modules whose `WORKER` is the command line of a process that takes part in a pull, or runs a job."""


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
        socket.send_fds(_preloaded()[0], [json.dumps(order).encode()], [status_end, *given])
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


def forked_worker(module: str) -> tuple[str, ...]:
    """The command line of a process that runs a module in a fork: see `forked_worker.py`. Arguments may follow."""
    return _worker(_preloaded()[1], module)


def _worker(address: Path, module: str) -> tuple[str, ...]:
    return (str(PYTHON), "-I", "-S", str(Path(__file__).with_name("forked_worker.py")), str(address), "-m", module)


@cache
def _preloaded() -> tuple[socket.socket, Path]:
    """The sockets of the preloaded process, for orders of this process and for those of workers. It ends when this one does."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = Path(tempfile.mkdtemp(prefix="zoo-tests-"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ZOO_")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as workers:
        workers.bind(str(folder / "workers"))
        workers.listen(64)
        process = subprocess.Popen(
            [PYTHON, "-m", __name__, folder / "workers", str(workers.fileno())],
            cwd=REPOSITORY,
            stdin=its,
            env=inherited | {"ZOO_OFFLINE": "1"},
            pass_fds=[workers.fileno()],
        )
    its.close()
    atexit.register(shutil.rmtree, folder)
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours, folder / "workers"


# ── the preloaded process ─────────────────────────────────────────────────────────────────────────────────────────


def main() -> None:
    """Forks for each order. Returns, in the fork, with the end of its program."""
    for name in IMPORTED:
        import_module(name)
    _settle()
    orders = socket.socket(fileno=os.dup(0))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are reaped by the kernel
    workers = socket.socket(fileno=int(sys.argv[2]))
    for name in STARTING_WORKERS:
        module: Any = import_module(name)
        module.WORKER = _worker(Path(sys.argv[1]), module.WORKER[-1])
    while True:
        data, fds = _next_order(orders, workers)
        if not data:
            return
        if os.fork() == 0:
            orders.close()
            workers.close()
            break
        for fd in fds:
            os.close(fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    status, *given = fds
    order = json.loads(data)
    pid = os.fork()
    if pid:
        _keep(pid, status, kills=order.get("group") is not None)
    os.close(status)
    try:
        _run(order, given)
    except SystemExit as ended:
        _exit(ended.code)
    _exit(0)


def _settle() -> None:
    """Sets what was imported apart from garbage collection, which would copy its memory into each fork: half a second of work."""
    gc.collect()
    gc.freeze()


def _exit(code: object) -> None:
    """Ends as the interpreter does, but leaves the modules to the kernel: to take them down would take over a second."""
    threading._shutdown()  # type: ignore[attr-defined]  # waits for the threads
    atexit._run_exitfuncs()
    gc.collect()  # warns of coroutines and files that the program has left
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(bool(code)))


def _next_order(orders: socket.socket, workers: socket.socket) -> tuple[bytes, list[int]]:
    """An order and the descriptors of its program. Empty once the process of the tests has ended."""
    while True:
        ready, _, _ = select.select([orders, workers], [], [])
        if orders in ready:
            return socket.recv_fds(orders, ORDER_BYTES, DESCRIPTORS)[:2]
        worker, _ = workers.accept()
        with worker:
            data, fds, *_ = socket.recv_fds(worker, ORDER_BYTES, DESCRIPTORS)
        if data:  # else it was killed before it could ask
            break
    pulls = json.loads(data)["command"][1].startswith("service.references.")
    if pulls and not set(IMPORTED_TO_PULL) <= sys.modules.keys():
        for name in IMPORTED_TO_PULL:
            import_module(name)
        _settle()
    return data, fds


def _keep(pid: int, status: int, kills: bool) -> None:
    """Sends the id of the program, waits for it and sends its exit code. Holds no other descriptor. Does not return.

    With `kills` the program is killed when the process that asked for it has ended.
    """
    try:
        os.write(status, f"{pid}\n".encode())
    except BrokenPipeError:  # whoever asked for it was killed
        os.kill(pid, signal.SIGKILL)
    ours = os.dup2(status, 3)
    os.closerange(0, 3)
    os.closerange(4, 4096)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if kills:
        end = select.poll()
        end.register(ours, 0)  # reports the end of its reader, which needs no event of its own
        program = os.pidfd_open(pid)
        end.register(program, select.POLLIN)
        if program not in dict(end.poll()):
            os.kill(pid, signal.SIGKILL)
    _, ended = os.waitpid(pid, 0)
    try:
        os.write(ours, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    finally:
        os._exit(0)


def _run(order: dict[str, Any], given: list[int]) -> None:
    """Becomes the program: its streams, its environment, its folder and its arguments. It keeps further descriptors open."""
    if order.get("session"):
        os.setsid()
    if order.get("group"):
        os.setpgid(0, order["group"])
    for number, fd in enumerate(given[:3]):
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
