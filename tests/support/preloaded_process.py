"""Programs in forks of one process that has imported torch and the server: a cold start takes seconds, a fork takes none.

    test ── order and descriptors over a socket ──► preloaded process ── fork ──► program

The preloaded process waits for its programs and sends their exit codes back. It is `python -m tests.support.preloaded_process`;
there is one for each process of tests. Tests that depend on how an interpreter starts (its environment, its locale,
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
import weakref
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
    "service.client",
    "service.cli.main",
    "service.database.migrate",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.dialects.sqlite",
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
    import_module("model_zoo.catalog").Catalog.readable()  # the cards of the package
    _settle()
    orders = socket.socket(fileno=os.dup(0))
    workers = socket.socket(fileno=int(sys.argv[2]))
    for name in STARTING_WORKERS:
        module: Any = import_module(name)
        module.WORKER = _worker(Path(sys.argv[1]), module.WORKER[-1])
    keeper = _Keeper()
    while True:
        if (found := _next_order(orders, workers, keeper)) is None:
            return
        data, fds = found
        status, *given = fds
        order = json.loads(data)
        pid = os.fork()
        if pid == 0:
            orders.close()
            workers.close()
            keeper.close()
            os.close(status)
            break
        for fd in given:
            os.close(fd)
        keeper.keep(pid, status, kills=order.get("group") is not None)
    try:
        _run(order, given)
    except SystemExit as ended:
        _exit(ended.code)
    _exit(0)


class _Keeper:
    """Tells of each program its id at its start and its exit code at its end, by the descriptor that came with its order."""

    def __init__(self) -> None:
        self._events = select.poll()
        self._programs: dict[int, tuple[int, int]] = {}
        """Process id and status by the descriptor of the process."""
        self._killed_with: dict[int, int] = {}
        """Process ids by the status whose reader they must not outlive."""

    def keep(self, pid: int, status: int, kills: bool) -> None:
        """With `kills` the program is killed when the process that asked for it has ended."""
        program = os.pidfd_open(pid)
        self._programs[program] = pid, status
        self._events.register(program, select.POLLIN)
        if kills:
            self._killed_with[status] = pid
            self._events.register(status, 0)  # reports the end of its reader, which needs no event of its own
        try:
            os.write(status, f"{pid}\n".encode())
        except BrokenPipeError:  # whoever asked for it was killed
            os.kill(pid, signal.SIGKILL)

    def wait_for(self, *orders: socket.socket) -> socket.socket:
        """Returns the first of the sockets that have something to read. Meanwhile programs end."""
        for one in orders:
            self._events.register(one, select.POLLIN)
        while True:
            events = [fd for fd, _ in self._events.poll()]
            for fd in events:
                if fd in self._killed_with:
                    self._events.unregister(fd)
                    os.kill(self._killed_with.pop(fd), signal.SIGKILL)
            for fd in events:
                if fd in self._programs:
                    self._end(fd)
            for one in orders:
                if one.fileno() in events:
                    return one

    def _end(self, program: int) -> None:
        self._events.unregister(program)
        pid, status = self._programs.pop(program)
        if self._killed_with.pop(status, None) is not None:
            self._events.unregister(status)
        _, ended = os.waitpid(pid, 0)
        with suppress(BrokenPipeError):
            os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
        os.close(status)
        os.close(program)

    def close(self) -> None:
        """For a fork: it has nothing of the other programs."""
        for program, (_, status) in self._programs.items():
            os.close(program)
            os.close(status)


def _settle() -> None:
    """Sets what was imported apart from garbage collection and from the end of each fork: both would copy its memory."""
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False
    atexit.unregister(import_module("torch._dynamo.utils").dump_compile_times)
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


def _next_order(orders: socket.socket, workers: socket.socket, keeper: _Keeper) -> tuple[bytes, list[int]] | None:
    """An order and the descriptors of its program. None once the process of the tests has ended."""
    while True:
        if keeper.wait_for(orders, workers) is orders:
            data, fds, *_ = socket.recv_fds(orders, ORDER_BYTES, DESCRIPTORS)
            return (data, fds) if data else None
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
