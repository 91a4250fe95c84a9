"""The record of who did what to models, versions, jobs, datasets and tokens: one JSON object a line, only ever appended.

    {"time": "2026-11-29T20:00:00.123Z", "action": "SetAlias", "object": "model/flowers", "detail": {"version": "3"},
     "outcome": "OK", "principal": "ada", "token": "0f3c…", "peer": "ipv4:10.0.0.7:5123", "server": "host-1"}

It holds neither payloads nor secrets. Several servers may write one file: each line is one write to a file opened for appending,
which POSIX keeps whole on a local file system. The file is opened for each line, so any tool may rotate it by a rename.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, Full, Queue

from service.access.principal import Principal
from service.observability.log import logger
from service.observability.printable import without_secrets

log = logger(__name__)

FILE = "audit.jsonl"
MOST_WAITING = 10_000
LONGEST_TEXT = 256
"""Characters of each text that a caller chose."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One action, done or refused."""

    action: str
    """The method's name."""
    object: str
    """Kind and name, as `job/1f0c`; empty where there is none."""
    outcome: str
    """The name of a gRPC status code."""
    principal: Principal
    peer: str
    owner: str = ""
    """What the caller calls itself, where no token proves it."""
    detail: Mapping[str, str] = field(default_factory=dict)


class AuditLog:
    """Writes on a thread of its own, so that a slow disk delays no call. `record` from any thread; `stop` writes what is left."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """`path`: made at the first line, readable by this user and group."""
        self.lost = 0
        """Events that could not be written, because the disk failed or was too slow."""
        self._path = path
        self._clock = clock
        self._server = socket.gethostname()
        self._waiting: Queue[bytes | None] = Queue(MOST_WAITING)
        self._failing = False
        self._torn = False  # the last line was written in part
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def start(self) -> None:
        """Starts to write."""
        self._thread.start()

    def record(self, event: AuditEvent) -> None:
        """Has an event written. Never raises and never waits."""
        try:
            self._waiting.put_nowait(self._line(event))
        except Full:
            self.lost += 1

    def stop(self, timeout_s: float = 5.0) -> None:
        """Writes what waits, then ends. Blocks."""
        try:
            self._waiting.put(None, timeout=timeout_s)
        except Full:
            return
        self._thread.join(timeout_s)

    def _line(self, event: AuditEvent) -> bytes:
        principal = event.principal
        content = {
            "time": self._clock().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "action": event.action,
            "object": _short(event.object),
            "detail": {key: _short(value) for key, value in event.detail.items()},
            "outcome": event.outcome,
            "principal": principal.name,
            "token": principal.token_id,
            "owner": _short(event.owner),
            "peer": event.peer,
            "server": self._server,
        }
        kept = {key: value for key, value in content.items() if value or key in ("object", "principal")}
        return json.dumps(kept, ensure_ascii=True, allow_nan=False).encode() + b"\n"

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            lines, last = [line], False
            while True:  # the file is opened once for all that came meanwhile
                try:
                    following = self._waiting.get_nowait()
                except Empty:
                    break
                if following is None:
                    last = True
                    break
                lines.append(following)
            self._write(lines)
            if last:
                return

    def _write(self, lines: list[bytes]) -> None:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                while lines:  # each line in a write of its own: a short write breaks one line at most
                    data = b"\n" + lines[0] if self._torn else lines[0]
                    written = os.write(descriptor, data)
                    self._torn = written < len(data)
                    if self._torn:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    lines.pop(0)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.lost += len(lines)
            if not self._failing:
                log.error("the audit log cannot be written", reason=(error.strerror or "unknown reason").lower())
            self._failing = True
        else:
            self._failing = False


def _short(text: str) -> str:
    text = without_secrets(text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
