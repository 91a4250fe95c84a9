"""Standard streams whose writes neither fail nor block.

Output is lost if the reader of the pipe has died or does not read, or if the disk is full. Nothing else may follow from that, so
these streams replace Python's own, which raise:

    server    `Queued`: a bounded queue and one thread that writes; output that does not fit is lost
    children  `Direct`: written at once if the stream takes it, else lost

`lost` counts the lost lines of this process. The module imports the standard library alone: children and `zoo --help` import it.
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
"""Bytes of one write (PIPE_BUF): a writable pipe takes this many without blocking."""
MOST_WAITING = 4 * 1024 * 1024
"""Bytes that may wait for a reader; further lines are lost."""
FLUSH_S = 2.0
"""How long a process waits at its end for output that is not written yet."""


class LostLines:
    """Counter of lines that could not be written."""

    def __init__(self) -> None:
        self.lines = 0
        self._lock = threading.RLock()

    def add(self, lines: int) -> None:
        """Adds to the count."""
        with self._lock:
            self.lines += lines


lost = LostLines()


class Output(Protocol):
    """A sink of bytes that neither raises nor blocks."""

    fd: int

    def write(self, data: bytes) -> None:
        """Writes the bytes, or drops and counts their lines."""

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """Waits at most `timeout_s` until earlier output is written."""


class Direct:
    """Writes in the caller's thread. Drops output that would block, unless `patient`."""

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
                        raise BlockingIOError  # handled like EAGAIN of the write itself
                    rest = rest[os.write(self.fd, rest[:PIECE]) :]
                except (OSError, ValueError):
                    lost.add(_lines(rest))
                    return

    def flush(self, timeout_s: float = FLUSH_S) -> None:
        """See Output."""


class Queued:
    """Writes in a thread of its own, which starts with the first line and ends with the process."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting: deque[bytes] = deque()
        self._held = 0  # bytes that wait or are being written
        # Reentrant: a destructor that runs inside `write` may log.
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
                ):  # no more threads, or interpreter shutdown: this line is lost, the next one tries again
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
    """A text stream over an Output that replaces `sys.stdout` or `sys.stderr`. Complete lines are written at once."""

    def __init__(self, output: Output, encoding: str) -> None:
        self.output = output
        self._encoding = encoding
        self._encoder = _encoder(encoding)
        self._partial = ""
        self._lock = threading.RLock()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream that this one replaces."""
        return self._encoding

    @property
    def errors(self) -> str:  # type: ignore[override]
        """Characters that the encoding lacks are escaped."""
        return "backslashreplace"

    def write(self, text: str, /) -> int:
        """Accepts the whole text, even if its lines are lost later."""
        with self._lock:
            lines, newline, self._partial = (self._partial + text).rpartition("\n")
            if newline:
                self._send(lines + newline)
        return len(text)

    def line(self, text: str) -> None:
        """Writes one whole line, independent of partial lines of other threads."""
        with self._lock:
            self._send(text + "\n")

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """See write."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Writes a partial line. Does not wait."""
        with self._lock:
            partial, self._partial = self._partial, ""
            if partial:
                self._send(partial)

    def close(self) -> None:
        """A standard stream stays open."""
        self.flush()

    def fileno(self) -> int:
        """The file descriptor of the output."""
        return self.output.fd

    def isatty(self) -> bool:
        """Whether the descriptor is a terminal."""
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
    """Opens the null device on each of the descriptors 0, 1 and 2 that is closed, and gives Python a stream for it.

    Must run before any other file is opened: a file or socket that got one of these numbers would receive standard output.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
                os.set_inheritable(fd, True)
    for fd, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            stream = open(fd, "r" if fd == 0 else "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def protect(*, queued: bool = False) -> None:
    """Replaces `sys.stdout` and `sys.stderr` by streams that never fail. A second call does nothing."""
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
    """Waits until the output of both protected streams is written, at most `timeout_s` for both together."""
    until = time.monotonic() + timeout_s
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Stream):
            stream.flush()
            stream.output.flush(max(until - time.monotonic(), 0.0))


def _own_description(fd: int) -> None:
    """Makes writes of native code to a pipe fail rather than block, if the system can reopen the pipe.

    The flag belongs to the open file description, which other processes share, so this process opens one of its own.
    """
    with suppress(OSError):
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            mine = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.dup2(mine, fd, inheritable=True)
            os.close(mine)


def _writable(fd: int, timeout_ms: int | None) -> bool:
    """Whether a write would not block; also true if it would fail. Waits at most `timeout_ms`; None waits for ever."""
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
