"""The real server as a process: started by its command, observed through its log, stopped by SIGTERM.

It starts in a fork of a process that has imported it (`preloaded_process.py`), or cold, as at a user's.

Imports only the standard library, since the stock clients use it in an environment without Zoo. No function sleeps for a
fixed time; each waits for lines, for the end of the process, or for a condition.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.paths import EXAMPLES, REPOSITORY
from tests.support.preloaded_process import PIPE, PYTHON, PreloadedProcess

__all__ = ["EXAMPLES", "REPOSITORY"]

ZOO = REPOSITORY / ".venv" / "bin" / "zoo"

TIMEOUT_S = 300.0
"""Of anything that must happen. It is long, since the machine may be busy."""
BEYOND_LOOPBACK = {"ZOO_ALLOW_PLAINTEXT_BEYOND_LOOPBACK": "true", "ZOO_ALLOW_ANONYMOUS_BEYOND_LOOPBACK": "true"}
"""Settings of a server that listens where other machines can call it."""
LOOK_S = 0.02
"""Between two looks at what the server does not tell by itself."""


def zoo_home() -> Path:
    """Folder of the weights that the tests share; `make` fetches them."""
    return Path(os.environ.get("ZOO_TEST_HOME") or REPOSITORY / ".cache" / "zoo-home")


def environment(**settings: str) -> dict[str, str]:
    """The environment of this process without settings of Zoo, offline, with `settings`. ZOO_TEST_FRONTEND: see the Makefile."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ZOO_")}
    inherited.pop("FORCE_COLOR", None)
    # Compiles and lane processes would slow the tests down; the tests of tiers turn them on.
    always = {"ZOO_OFFLINE": "1", "ZOO_LOG_FORMAT": "json", "ZOO_OPTIMIZE": "off", "ZOO_LANE_PROCESSES": "off"}
    # A job on idle cores only would hardly progress beside other tests.
    always |= {"ZOO_JOB_NICENESS": "0"}
    frontend = {"ZOO_FRONTEND": os.environ.get("ZOO_TEST_FRONTEND", "auto")}
    chosen = inherited | {"ZOO_HOME": str(zoo_home())} | always | frontend | settings
    _share_probe(Path(chosen["ZOO_HOME"]))
    return chosen


def _share_probe(home: Path) -> None:
    """A server tries its frontend once for each home. It is the same one for all homes of the tests."""
    result, shared = home / "frontend.json", zoo_home() / "frontend.json"
    with suppress(OSError):
        if home.is_dir() and shared.is_file() and not result.exists():
            shutil.copy(shared, result)


def run_zoo(
    *arguments: str | Path, cwd: Path = REPOSITORY, stdin: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Runs the `zoo` command to its end."""
    return subprocess.run(
        [str(ZOO), *map(str, arguments)],
        cwd=cwd,
        env=environment(**settings),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits until a condition is true; fails after TIMEOUT_S. It leaves the cores to the server between two looks."""
    deadline, pause = time.monotonic() + TIMEOUT_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited {TIMEOUT_S:.0f} s for {what}"
        pause.wait(LOOK_S)


class ServerProcess:
    """`zoo serve` on free ports of the loopback interface. Leaving the context stops it and checks that its exit code is 0."""

    def __init__(
        self,
        *arguments: str,
        cwd: Path = REPOSITORY,
        command: Sequence[str] = ("zoo", "serve"),
        cold: bool = False,
        **settings: str,
    ) -> None:
        """`command`: see PreloadedProcess. `cold`: a new interpreter and no fork; then it may be the path of another command."""
        self.out: list[str] = []
        self.err: list[str] = []
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._open_pipes = 2
        line = [*command, "--port", "0", "--http-port", "0", *arguments]
        given: Any = {"cwd": cwd, "env": environment(**settings), "stdout": PIPE, "stderr": PIPE}
        self.process: PreloadedProcess | subprocess.Popen[str]
        if cold:
            start = line if Path(line[0]).is_absolute() else [str(PYTHON), *line]
            if line[0] == "zoo":
                start = [str(ZOO), *line[1:]]
            self.process = subprocess.Popen(start, text=True, **given)
        else:
            self.process = PreloadedProcess(line, **given)
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.out), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.err), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    # ── output ──────────────────────────────────────────────────────────────────────────────────────────

    def wait_for(self, *names: str, **fields: object) -> dict[str, Any]:
        """The first event of the log with one of these names and these fields."""

        def found() -> dict[str, Any] | None:
            matching = (e for e in self.events if e.get("event") in names and fields.items() <= e.items())
            return next(matching, None)

        with self._changed:
            in_time = self._changed.wait_for(lambda: found() or not self._open_pipes, TIMEOUT_S)
            event = found()
        assert event is not None, f"no {names} {fields or ''} {'at its end' if in_time else 'in time'}:\n{self.output}"
        return event

    def wait_for_line(self, text: str) -> None:
        """Returns once a line of stdout holds `text`."""
        with self._changed:
            self._changed.wait_for(lambda: any(text in line for line in self.out) or not self._open_pipes, TIMEOUT_S)
        assert any(text in line for line in self.out), f"stdout never said {text!r}:\n{self.output}"

    def live(self) -> ServerProcess:
        """Returns once the ports are open."""
        event = self.wait_for("live")
        self.port, self.http_port = event["grpc_port"], event["http_port"]
        self._address = event["grpc_address"]
        return self

    def ready(self) -> ServerProcess:
        """Returns once every model has loaded or failed, and at least one serves. A server that does not get so far is killed, so
        that it takes no core from the tests that follow."""
        try:
            self.live()
            self.wait_for("ready")
        except BaseException:
            self.process.kill()
            raise
        return self

    @property
    def target(self) -> str:
        return self._address if self._address.startswith("unix:") else f"127.0.0.1:{self.port}"

    @property
    def output(self) -> str:
        return "".join([*self.out, *self.err])

    def get(self, path: str) -> str:
        """A page of the HTTP port."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=TIMEOUT_S) as reply:
            text: str = reply.read().decode()
        return text

    def assert_log_is_clean(self) -> None:
        """Checks that the log holds no error, and that stderr holds only the log."""
        errors = [event for event in self.events if event["level"] == "error"]
        assert not errors, errors
        strays = [line for line in self.err if _event(line) is None]
        assert not strays, "".join(strays)

    # ── end ───────────────────────────────────────────────────────────────────────────────────────────

    def terminate(self) -> None:
        """Sends SIGTERM, as a container runtime does."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """The exit code, once the process has ended and its output is read."""
        try:
            code = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end:\n{self.output}") from None
        finally:
            for reader in self._readers:
                reader.join(TIMEOUT_S)
        return code

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process.poll() is None:
            self.terminate()
        code = self.wait()
        if kind is None:
            assert code == 0, f"exit code {code}:\n{self.output}"

    def _read(self, pipe: Any, lines: list[str]) -> None:
        with pipe:
            for line in pipe:
                event = _event(line)
                with self._changed:
                    lines.append(line)
                    if event is not None:
                        self.events.append(event)
                    self._changed.notify_all()
        with self._changed:
            self._open_pipes -= 1
            self._changed.notify_all()


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
