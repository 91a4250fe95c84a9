"""A real Prometheus on loopback that watches servers of the tests."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.end_to_end.components import find_command
from tests.support.end_to_end.server_process import TIMEOUT_S, until
from tests.support.paths import REPOSITORY

INTERVAL = "500ms"
"""Between two scrapes, and between two evaluations of the rules."""
RULES = REPOSITORY / "deploy" / "prometheus" / "rules"


class PrometheusProcess:
    """As a context manager: scrapes one target as the job `zoo`, with the rules of deploy/ if asked to, evaluated at INTERVAL."""

    def __init__(self, folder: Path, target_port: int, *features: str, rules: bool = False) -> None:
        """`features` are names of `--enable-feature`."""
        binary = find_command("prometheus", None, "Debian's package prometheus")
        folder.mkdir(parents=True)
        targets = [{"targets": [f"127.0.0.1:{target_port}"]}]
        config: dict[str, Any] = {
            "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
            "scrape_configs": [{"job_name": "zoo", "static_configs": targets}],
        }
        if rules:
            config["rule_files"] = ["rules/*.yml"]
            shutil.copytree(RULES, folder / "rules")
            for file in (folder / "rules").iterdir():
                groups = yaml.safe_load(file.read_text())["groups"]
                for group in groups:
                    group.pop("interval", None)  # the first evaluation would come after up to two minutes
                file.write_text(yaml.safe_dump({"groups": groups}))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.port = _free_port()
        command = [
            binary,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            *(f"--enable-feature={feature}" for feature in features),
        ]
        self.began = time.time()
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def __enter__(self) -> PrometheusProcess:
        try:
            until(lambda: self._is_ready(), "Prometheus")
            until(lambda: self.value("up") == 1, "the first scrape")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(TIMEOUT_S)
        self._log.close()

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, Path(self._log.name).read_text()
        try:
            self._get("/-/ready")
        except OSError:  # HTTP errors too
            return False
        return True

    # ── queries ───────────────────────────────────────────────────────────────────────────────────────────────────

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series of an expression now: `metric` and `value`, or `histogram`."""
        found: list[dict[str, Any]] = self.api("query", query=expr)["result"]
        return found

    def value(self, expr: str) -> float | None:
        """The value of an expression that has one series; None without any."""
        found = self.query(expr)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def values(self, expr: str) -> dict[tuple[tuple[str, str], ...], float]:
        """The series of an expression: labels, without name and target, → value."""
        ours = {"__name__", "job", "instance"}
        return {
            tuple(sorted((k, v) for k, v in one["metric"].items() if k not in ours)): float(one["value"][1])
            for one in self.query(expr)
        }

    def had(self, expr: str) -> bool:
        """Whether an expression had a number at some time since the start."""
        now = time.time()
        found = self.api("query_range", query=expr, start=f"{self.began}", end=f"{now}", step="0.5")["result"]
        return any(value != "NaN" for one in found for _, value in one["values"])

    def api(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of the API."""
        answer = json.loads(self._get(f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def _get(self, path: str) -> bytes:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"http://127.0.0.1:{self.port}{path}", timeout=TIMEOUT_S) as reply:
                body: bytes = reply.read()
        except urllib.error.HTTPError as error:
            if path.startswith("/api/"):
                raise AssertionError(error.read().decode()) from error
            raise
        return body


def promtool(*arguments: str | Path, given: Mapping[str, Any] | None = None, text: str | None = None) -> str:
    """Runs promtool, which must succeed; returns its output."""
    command = [find_command("promtool", None, "Debian's package prometheus"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, input=text, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
