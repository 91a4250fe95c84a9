"""Standard streams that never fail and never block whoever writes to them.

A process loses what it prints where the reader of its pipe has died, does not read, or the disk behind it is full. Nothing else
may come of that, so Python's own streams, which raise, are replaced:

    server    `Queued`: a bounded queue and one thread that writes; what does not fit is lost
    children  `Direct`: written at once where the stream takes it, else lost

`lost` counts lines of this process. Imports the standard library alone, since children and `zoo --help` need it at once.
"""

from __future__ import annotations

import atexit
import codecs
import errno
import io
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol, TextIO, cast

PIECE = 4096
"""Bytes of one write (PIPE_BUF): a pipe that can be written takes so many without blocking."""
MOST_WAITING = 4 * 1024 * 1024
"""Bytes that wait for a reader; beyond it lines are lost."""
FLUSH_S = 2.0
"""How long the end of a process waits for what is not written yet."""


class Lost:
    """Lines that could not be written."""

    def __init__(self) -> None:
        self.lines = 0
        self._lock = threading.RLock()

    def add(self, lines: int) -> None:
        """So many more are lost."""
        with self._lock:
            self.lines += lines


lost = Lost()


class Output(Protocol):
    """Takes bytes, and neither raises nor blocks."""

    fd: int

    def write(self, data: bytes) -> None:
        """Writes, or loses."""

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Waits for what was written before, at most so long."""


class Direct:
    """Writes in the caller's thread, where that does not block, or, where it is patient, as long as it takes."""

    def __init__(self, fd: int, *, patient: bool = False) -> None:
        self.fd = fd
        self._timeout_ms = None if patient else 0
        self._lock = threading.RLock()

    def write(self, data: bytes) -> None:
        """See Output."""
        with self._lock:
            rest = memoryview(data)
            while rest:
                try:
                    if not _writable(self.fd, self._timeout_ms):
                        raise BlockingIOError  # the same end as where the system says so
                    rest = rest[os.write(self.fd, rest[:PIECE]) :]
                except (OSError, ValueError):
                    lost.add(_lines(rest))
                    return

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """See Output."""


class Queued:
    """Writes in a thread of its own, which starts with the first line and lasts as long as the process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting: deque[bytes] = deque()
        self._held = 0  # bytes that wait or are being written
        # Reentrant: a destructor that runs in the middle of `write` may log.
        self._change = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._broken = False  # the last line was written in part

    def write(self, data: bytes) -> None:
        """See Output."""
        with self._change:
            if self._held + len(data) > MOST_WAITING:
                lost.add(_lines(data))
                return
            self._waiting.append(data)
            self._held += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"output-{self.fd}", daemon=True)
                try:
                    self._thread.start()
                except (
                    RuntimeError
                ):  # no more threads, or the interpreter ends: this line is lost, the next one tries again
                    self._thread = None
                    self._waiting.clear()
                    self._held = 0
                    lost.add(_lines(data))
                    return
            self._change.notify_all()

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """See Output."""
        with self._change:
            self._change.wait_for(lambda: not self._held or self._thread is None, timeout_s)

    def _run(self) -> None:
        while True:
            with self._change:
                while not self._waiting:
                    self._change.wait()
                data = self._waiting.popleft()
            self._put(data)
            with self._change:
                self._held -= len(data)
                if not self._held:
                    self._change.notify_all()
            del data

    def _put(self, data: bytes) -> None:
        whole = b"\n" + data if self._broken else data
        rest = memoryview(whole)
        while rest:
            try:
                rest = rest[os.write(self.fd, rest) :]
            except BlockingIOError:
                _writable(self.fd, None)
            except (OSError, ValueError):
                self._broken = len(rest) < len(whole)
                lost.add(_lines(rest))
                return
        self._broken = False


class Stream(io.TextIOBase):
    """A text stream over an Output, for what expects `sys.stdout` or `sys.stderr`. Complete lines leave at once."""

    def __init__(self, output: Output, encoding: str) -> None:
        self.output = output
        self._encoding = encoding
        self._encoder = _encoder(encoding)
        self._begun = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream in whose place this one is."""
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        """Characters that the encoding has not are escaped."""
        return "backslashreplace"

    def write(self, text: str, /) -> int:
        """Takes all of it, whatever becomes of it."""
        with self._lock:
            lines, newline, self._begun = (self._begun + text).rpartition("\n")
            if newline:
                self._send(lines + newline)
        return len(text)

    def line(self, text: str) -> None:
        """One whole line, whatever other threads have begun."""
        with self._lock:
            self._send(text + "\n")

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """See write."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Lets go of a line that was begun. Does not wait."""
        with self._lock:
            begun, self._begun = self._begun, ""
            if begun:
                self._send(begun)

    def close(self) -> None:
        """A standard stream stays open."""
        self.flush()

    def fileno(self) -> int:
        """The file descriptor behind it."""
        return self.output.fd

    def isatty(self) -> bool:
        """Whether people look at it."""
        return os.isatty(self.output.fd)

    def writable(self) -> bool:
        """Always."""
        return True

    def _send(self, text: str) -> None:
        try:
            data = self._encoder.encode(text)
        except (UnicodeError, LookupError):
            data = text.encode("ascii", "backslashreplace")
        self.output.write(data)


def open_closed() -> None:
    """Gives the null device to those of the descriptors 0, 1 and 2 that are closed, and a stream to Python where it has none.

    Call it before anything else is opened: the next file or socket would get such a number, and print into it who writes to
    standard output.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
                os.set_inheritable(fd, True)
    for fd, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            stream = open(fd, "r" if fd == 0 else "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def protect(*, queued: bool = False) -> None:
    """Puts streams that never fail in the place of `sys.stdout` and `sys.stderr`. Again does nothing."""
    open_closed()
    kind = Queued if queued else Direct
    for fd, name in ((1, "stdout"), (2, "stderr")):
        before = cast(TextIO, getattr(sys, name))
        if isinstance(before, Stream) and type(before.output) is kind:
            continue
        with suppress(OSError, ValueError):
            before.flush()
        if queued:
            _own_description(fd)
        setattr(sys, name, Stream(kind(fd), getattr(before, "encoding", None) or "utf-8"))
    if queued:
        atexit.register(flush)


def flush(timeout_s: float = FLUSH_S) -> None:
    """Waits until what was written to the protected streams is out, at most so long for both together."""
    until = time.monotonic() + timeout_s
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream):
            stream.flush()
            stream.output.flush(max(until - time.monotonic(), 0.0))


def _own_description(fd: int) -> None:
    """Makes writes of native code to a pipe fail rather than block, where the system lets us open the pipe anew.

    The flag belongs to the open file description, which other processes share: so this process gets one of its own.
    """
    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            mine = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.dup2(mine, fd, inheritable=True)
            os.close(mine)


def _writable(fd: int, timeout_ms: int | None) -> bool:
    """Whether a write would not block, be it because it fails. Waits at most so long; None for ever."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        return bool(poll.poll(timeout_ms))
    except OSError as error:
        return error.errno != errno.EINTR


def _lines(data: bytes | memoryview) -> int:
    return max(bytes(data).count(b"\n"), 1)


def _encoder(encoding: str) -> codecs.IncrementalEncoder:
    try:
        return codecs.getincrementalencoder(encoding)("backslashreplace")
    except LookupError:
        return codecs.getincrementalencoder("ascii")("backslashreplace")
