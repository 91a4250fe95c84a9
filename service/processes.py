"""Child processes: started with pipes in a session of their own, signalled as a whole, and reaped.

    on the event loop   AsyncChildProcess   the worker of a job, the validator of an upload
    in a thread         ChildProcess        the compiler of a network, the process of a lane

A child leads a session (or a group) of its own: a signal to the server's terminal does not reach it, and a kill reaches the
processes that it has started as well. No code of ours runs between fork and exec, which can deadlock in a process with many
threads: a child takes its limits and its priority itself, after exec.

A child ends with this process. Its standard input is a pipe whose other end this process alone holds; the child ends itself
when it reads the end of that pipe: see `end_with_parent`. The workers of jobs are tied by the kernel as well: see
`jobs/workers/bootstrap.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

SECRETS = ("AWS_", "MLFLOW_", "OTEL_", "ZOO_DATABASE_URL", "ZOO_ADMIN_TOKEN", "ZOO_TOKEN")
"""Beginnings of environment variables that a process which opens files of strangers must not have. Those of a hub stay."""
_OF_NETWORK = ("GOOGLE_", "AZURE_", "PIP_", "UV_", "NPM_", "HF_ENDPOINT", "PGPASSWORD", "PGPASSFILE")
_SECRET = re.compile(r"(^|_)(TOKEN|SECRETS?|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|KEY|PROXY)(_|$)")
DEFAULT_LINE_LIMIT = 64 * 1024
"""Bytes of a line that `AsyncChildProcess.read_line` reads at most."""


class LineTooLong(ValueError):
    """A child wrote a line over the limit. The line is dropped; the next one can be read."""


def environment_without_secrets(*needed: str, **added: str) -> dict[str, str]:
    """The environment of a child that opens files of strangers. It finds the code of this project from any working directory.

    `needed`: beginnings of variables with secrets that this child must have.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SECRETS) or (needed and name.startswith(needed))
    }
    here = str(Path(__file__).resolve().parents[1])
    known = kept.get("PYTHONPATH")
    return {**kept, **added, "PYTHONPATH": f"{here}{os.pathsep}{known}" if known else here}


def environment_of_offline_child(**added: str) -> dict[str, str]:
    """As `environment_without_secrets`, for a child that fetches nothing: it has no variable either by which a client finds or
    convinces a server, such as a token, a proxy or the address of an index, which may hold a password."""
    kept = environment_without_secrets()
    names = [name for name in kept if name.upper().startswith(_OF_NETWORK) or _SECRET.search(name.upper())]
    return {name: value for name, value in kept.items() if name not in names} | added


def log_of_libraries() -> int | None:
    """Where a child writes the warnings of libraries: nowhere, unless ZOO_LOG_LEVEL asks for details."""
    return None if os.environ.get("ZOO_LOG_LEVEL", "").lower() == "debug" else subprocess.DEVNULL


@contextmanager
def called_after(call: Callable[[], None], seconds: float) -> Iterator[None]:
    """Calls in another thread unless the context is left within `seconds`. No call begins after the context."""
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


class ChildProcess:
    """A child for threads that may block. One thread uses the pipes; any thread may call `kill` until `end` is called."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        """Use `start`."""
        assert popen.stdin is not None
        assert popen.stdout is not None
        self._popen = popen
        self._stdin, self._stdout = popen.stdin, popen.stdout

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stderr: IO[bytes] | int | None = None,
        pass_fds: Sequence[int] = (),
    ) -> ChildProcess:
        """Starts a child in a session of its own. Without `stderr` it writes to the standard error of this process.

        Raises OSError.
        """
        return cls(
            subprocess.Popen(  # noqa: S603  # callers run modules of this project
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=env,
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        )

    @property
    def pid(self) -> int:
        """Its process id, which is that of its session as well."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code once it is reaped; below 0, the signal that ended it."""
        return self._popen.returncode

    def write_line(self, line: bytes) -> None:
        """Writes a line to its standard input. Raises OSError where it has ended."""
        self._stdin.write(line + b"\n")
        self._stdin.flush()

    def read_line(self) -> bytes | None:
        """The next line of its standard output, without the newline; None at the end."""
        line = self._stdout.readline()
        return line.rstrip(b"\n") if line else None

    def kill(self) -> None:
        """Kills the child and its session, in which processes may be left that it started before it died.

        The session has the child's id until the child is reaped; after that the id may be another session's.
        """
        if self._popen.returncode is None:
            _signal_group(self._popen.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """Asks the child alone to end (SIGTERM). Any thread may call this until `end` is called."""
        if self._popen.returncode is None:
            self._popen.terminate()

    @contextmanager
    def killed_after(self, seconds: float) -> Iterator[None]:
        """Kills the session unless the context is left within `seconds`. No kill happens after the context."""
        with called_after(self.kill, seconds):
            yield

    def end(self, grace_s: float = 0.0) -> int:
        """Closes the pipes, kills the session unless the child ends by itself within `grace_s`, and reaps the child.

        Returns its exit code.
        """
        if grace_s <= 0:
            self.kill()  # before the child is reaped: its session may hold more than the child
        for pipe in (self._stdin, self._stdout):
            with suppress(OSError):
                pipe.close()
        if grace_s > 0:
            with suppress(subprocess.TimeoutExpired):
                return self._popen.wait(grace_s)
            self.kill()
        return self._popen.wait()


class AsyncChildProcess:
    """A child for the event loop. Every method is called on the loop's thread."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Use `start`."""
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._stdin, self._stdout = process.stdin, process.stdout

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stderr: IO[bytes] | int | None = None,
        line_limit: int = DEFAULT_LINE_LIMIT,
        own_session: bool = True,
    ) -> AsyncChildProcess:
        """Starts a child in a session of its own, or, without `own_session`, in a group of its own within this session.

        Without `stderr` it writes to the standard error of this process. Raises OSError. A cancelled caller leaves no child:
        asyncio would leave one half started, so the start is completed and the child ended.
        """
        starting = asyncio.ensure_future(
            asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                limit=line_limit,
                env=env,
                start_new_session=own_session,
                process_group=None if own_session else 0,
            )
        )
        try:
            return cls(await asyncio.shield(starting))
        except asyncio.CancelledError:
            with suppress(OSError):
                await cls(await starting).end()
            raise

    @property
    def pid(self) -> int:
        """Its process id, which is that of its group as well."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code once it has ended; below 0, the signal that ended it."""
        return self._process.returncode

    def write_line(self, line: bytes) -> None:
        """Writes a line to its standard input. Does nothing where it has ended."""
        if self._process.returncode is None and not self._stdin.is_closing():
            with suppress(OSError, RuntimeError):
                self._stdin.write(line + b"\n")

    async def read_line(self) -> bytes | None:
        """The next line of its standard output, without the newline; None at the end. Raises LineTooLong."""
        try:
            line = await self._stdout.readline()
        except ValueError:  # the reader has dropped the line
            raise LineTooLong from None
        return line.rstrip(b"\n") if line else None

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to its whole group. Does nothing where it has ended."""
        if self._process.returncode is None:
            _signal_group(self._process.pid, number)

    def kill(self) -> None:
        """Kills it and its group, stopped or not."""
        self.signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Waits for its end and returns its exit code."""
        code = await self._process.wait()
        self._stdin.close()
        return code

    async def end(self) -> int:
        """Kills its group if it still runs, closes its standard input, reaps it and returns its exit code."""
        self.kill()
        self._stdin.close()
        return await self._process.wait()


def end_with_parent() -> None:
    """Called in a child: ends the child and its session when the parent does. Starts a thread and returns at once.

    The thread reads standard input until its end: no other code may read it from now on.
    """
    threading.Thread(target=_wait_for_parent, name="end-with-parent", daemon=True).start()


def _wait_for_parent() -> None:
    while os.read(0, 4096):
        pass
    if os.getpgid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)  # its group is not its own


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(
        ProcessLookupError, PermissionError
    ):  # the latter on macOS, where every process of the group has ended
        os.killpg(pid, number)
