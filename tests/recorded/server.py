"""The server of any checkout as a process, on a home of its own, set up so that it does the same thing each time."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0

SETTINGS = {
    "ZOO_DEVICE": "cpu",
    "ZOO_LANES": "1",
    "ZOO_CPU_THREADS": "1",
    "ZOO_PREPROCESS_WORKERS": "1",
    "ZOO_MAX_BATCH_SIZE": "4",
    "ZOO_PRECISION": "fp32",
    "ZOO_OPTIMIZE": "off",
    "ZOO_LANE_PROCESSES": "off",
    "ZOO_OFFLINE": "1",
    "ZOO_LOG_FORMAT": "json",
    "ZOO_MAX_MESSAGE_MIB": "8",
    "ZOO_MAX_DATASET_MIB": "16",
    "ZOO_MAX_DATASET_FILES": "200",
    "ZOO_JOB_THREADS": "1",
    "ZOO_JOBS_PER_OWNER": "2",
    # Nothing happens by the clock: no look at other servers, no rest of a job for the sake of waiting calls.
    "ZOO_FOLLOW_INTERVAL_S": "3600",
    "ZOO_JOB_YIELD_TARGET_MS": "60000",
    "ZOO_JOB_MIN_SHARE": "1",
}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def weights_home() -> Path:
    """Home with the weights of the catalog's models; `make unit` fetches them."""
    return Path(os.environ.get("ZOO_TEST_HOME") or REPOSITORY / ".cache" / "zoo-home")


def zoo_of(tree: Path) -> Path:
    """The `zoo` command of a checkout."""
    return tree / ".venv" / "bin" / "zoo"


def environment(home: Path, **settings: str) -> dict[str, str]:
    """This process's environment without Zoo's settings, and with those of a recording."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("ZOO_")}
    inherited.pop("FORCE_COLOR", None)
    plain = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb", "ZOO_HOME": str(home)}
    return inherited | plain | ONE_THREAD | SETTINGS | settings


def link_weights(home: Path) -> None:
    """Gives `home` the shared weights: a folder of its own with links to what is never written."""
    source, target = weights_home() / "weights", home / "weights"
    (target / "by-card").mkdir(parents=True)
    for pointer in sorted((source / "by-card").glob("*.json")):
        (target / "by-card" / pointer.name).write_bytes(pointer.read_bytes())
        digest = json.loads(pointer.read_text())["digest"]
        (target / digest).symlink_to(source / digest)


class Server:
    """`zoo serve` of a checkout. Leaving the context ends it."""

    def __init__(self, tree: Path, home: Path, **settings: str) -> None:
        self.tree, self.home, self.settings = tree, home, settings
        self.events: list[dict[str, Any]] = []
        self.output: list[str] = []
        self._changed = threading.Condition()
        self._open_pipes = 2
        self.process = subprocess.Popen(
            [zoo_of(tree), "serve", "--port", "0", "--http-port", "0"],
            cwd=tree,
            env=environment(home, **settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        pipes = (self.process.stdout, self.process.stderr)
        self._readers = [threading.Thread(target=self._read, args=(pipe,), daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()
        self.port = self.http_port = 0
        self._wait_until_ready()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, path: str) -> str:
        """A page of the HTTP port."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=PATIENCE_S) as reply:
            text: str = reply.read().decode()
        return text

    def zoo(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Runs the `zoo` command of the same checkout against this server."""
        own = {"ZOO_SERVER": self.target} | settings
        return run_zoo(self.tree, self.home, *arguments, **own)

    def stop(self) -> int:
        """Asks it to end, as a container runtime does, and gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._ended()

    def kill(self) -> None:
        """Ends it without notice."""
        self.process.kill()
        self._ended()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ended(self) -> int:
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return code

    def _wait_until_ready(self) -> None:
        """Ports come from the first event that has them, readiness from the HTTP port: neither depends on event names."""
        with self._changed:
            self._changed.wait_for(lambda: self._ports() is not None or not self._open_pipes, PATIENCE_S)
            ports = self._ports()
        if ports is None:
            self.kill()
            raise AssertionError(f"the server did not start:\n{''.join(self.output)}")
        self.port, self.http_port = ports
        while not self._all_loaded():
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at its start:\n{''.join(self.output)}")

    def _all_loaded(self) -> bool:
        loading = re.findall(r'^zoo_model_state\{.*state="LOADING".*\} (\S+)$', self.get("/metrics"), re.MULTILINE)
        ready = re.search(r'^zoo_model_state\{.*state="READY".*\} 1', self.get("/metrics"), re.MULTILINE)
        return ready is not None and not any(float(value) for value in loading)

    def _ports(self) -> tuple[int, int] | None:
        found = [(e["grpc_port"], e["http_port"]) for e in self.events if "grpc_port" in e and "http_port" in e]
        return found[0] if found else None

    def _read(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = None
                with self._changed:
                    self.output.append(line)
                    if isinstance(event, dict):
                        self.events.append(event)
                    self._changed.notify_all()
        with self._changed:
            self._open_pipes -= 1
            self._changed.notify_all()


def run_zoo(tree: Path, home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs the `zoo` command of a checkout to its end."""
    return subprocess.run(
        [str(zoo_of(tree)), *arguments],
        cwd=tree,
        env=environment(home, **settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def python_of(tree: Path, home: Path, code: str, arguments: Mapping[str, str] | None = None) -> str:
    """What a few lines of Python print in a checkout's environment."""
    ran = subprocess.run(
        [str(tree / ".venv" / "bin" / "python"), "-c", code],
        cwd=tree,
        env=environment(home, **(arguments or {})),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return ran.stdout if ran.returncode == 0 else f"exit code {ran.returncode}"
