"""The real server as a process: started by its command, known by its log, ended by its own signal.

Imports nothing but the standard library, since both suites use it: this one, and the stock clients' in an environment
without Zoo. Nothing here sleeps; it waits for lines, for the end of the process, or for a condition.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
ZOO = REPOSITORY / ".venv" / "bin" / "zoo"
EXAMPLES = REPOSITORY / "examples"

PATIENCE_S = 120.0
"""For whatever must happen sooner or later. Not a promise of speed: the machine may be busy with other things."""


def zoo_home() -> Path:
    """Where the weights are that the tests share; `make` fetches them there."""
    return Path(os.environ.get("ZOO_TEST_HOME") or REPOSITORY / ".cache" / "zoo-home")


def environment(**settings: str) -> dict[str, str]:
    """The caller's environment without any setting of Zoo's, offline, and with `settings`."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ZOO_")}
    inherited.pop("FORCE_COLOR", None)
    # Compiling networks, and a process more a lane, would take the machine from the tests; those of tiers turn it on.
    always = {"ZOO_OFFLINE": "1", "ZOO_LOG_FORMAT": "json", "ZOO_OPTIMIZE": "off", "ZOO_LANE_PROCESSES": "off"}
    return inherited | {"ZOO_HOME": str(zoo_home())} | always | settings


def run_zoo(*arguments: str | Path, cwd: Path = REPOSITORY, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs the `zoo` command to its end."""
    command = [str(ZOO), *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment(**settings), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def until(condition: Callable[[], bool], what: str) -> None:
    """Asks until the answer is yes; fails after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s in vain for {what}"


class ServerProcess:
    """`zoo serve` on free ports of the loopback. Leaving the context ends it and demands exit code 0."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path = REPOSITORY,
        command: Sequence[str | Path] = (ZOO, "serve"),
        **settings: str,
    ) -> None:
        self.out: list[str] = []
        self.err: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._open_pipes = 2
        self.process = subprocess.Popen(
            [*map(str, command), "--port", "0", "--http-port", "0", *arguments],
            cwd=cwd,
            env=environment(**settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    # ── what it says ──────────────────────────────────────────────────────────────────────────────────────────

    def wait_for(self, *names: str, **fields: object) -> dict[str, Any]:
        """The first event of the log with one of these names and these fields."""

        def found() -> dict[str, Any] | None:
            wanted = (e for e in self.events if e.get("event") in names and fields.items() <= e.items())
            return next(wanted, None)

        with self._news:
            came = self._news.wait_for(lambda: found() or not self._open_pipes, PATIENCE_S)
            event = found()
        assert event is not None, f"no {names} {fields or ''} {'at its end' if came else 'in time'}:\n{self.said}"
        return event

    def wait_for_line(self, text: str) -> None:
        """Returns once a line of stdout holds `text`."""
        with self._news:
            self._news.wait_for(lambda: any(text in line for line in self.out) or not self._open_pipes, PATIENCE_S)
        assert any(text in line for line in self.out), f"stdout never said {text!r}:\n{self.said}"

    def live(self) -> ServerProcess:
        """Returns once the ports are open."""
        event = self.wait_for("live")
        self.port, self.http_port = event["grpc_port"], event["http_port"]
        return self

    def ready(self) -> ServerProcess:
        """Returns once every model has loaded or failed, and one answers."""
        self.live()
        self.wait_for("ready")
        return self

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return "".join([*self.out, *self.err])

    def get(self, path: str) -> str:
        """A page of the HTTP port."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=PATIENCE_S) as reply:
            text: str = reply.read().decode()
        return text

    def complains_of_nothing(self) -> None:
        """Its log holds no error, and its stderr nothing but its log: whatever callers did was foreseen."""
        errors = [event for event in self.events if event["level"] == "error"]
        assert not errors, errors
        strays = [line for line in self.err if _event(line) is None]
        assert not strays, "".join(strays)

    # ── how it ends ───────────────────────────────────────────────────────────────────────────────────────────

    def terminate(self) -> None:
        """Says stop, as a container runtime does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code, once it has ended and everything it said is read."""
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end:\n{self.said}") from None
        finally:
            for reader in self._readers:
                reader.join(PATIENCE_S)
        return code

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process.poll() is None:
            self.terminate()
        code = self.wait()
        if kind is None:
            assert code == 0, f"exit code {code}:\n{self.said}"

    def _read(self, pipe: Any, lines: list[str]) -> None:
        with pipe:
            for line in pipe:
                event = _event(line)
                with self._news:
                    lines.append(line)
                    if event is not None:
                        self.events.append(event)
                    self._news.notify_all()
        with self._news:
            self._open_pipes -= 1
            self._news.notify_all()


def _event(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def home_with(folder: Path, present: Sequence[str], damaged: Mapping[str, bytes] | None = None) -> Path:
    """A ZOO_HOME in `folder` that shares the weights of `present`; those in `damaged` begin with these bytes instead.

    Weights that stay as they are cost no copy.
    """
    damaged = damaged or {}
    weights = folder / "weights"
    (weights / "by-card").mkdir(parents=True)
    for pointer in sorted((zoo_home() / "weights" / "by-card").glob("*.json")):
        card = json.loads(pointer.read_text())
        if card["card"] not in (*present, *damaged):
            continue
        (weights / "by-card" / pointer.name).write_text(pointer.read_text())
        source, target = zoo_home() / "weights" / card["digest"], weights / card["digest"]
        if card["card"] not in damaged:
            target.symlink_to(source)
            continue
        target.mkdir()
        for file in source.iterdir():
            start = damaged[card["card"]] if file.suffix == ".safetensors" else b""
            (target / file.name).write_bytes(start + file.read_bytes()[len(start) :])
    return folder
