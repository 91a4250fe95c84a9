"""The processes that take part in a measurement: started, spoken to in JSON lines, watched, and ended by pid."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parent.parent


class Process:
    """A child; use it as a context manager. `ask` sends a line and reads one."""

    def __init__(self, *arguments: str, environment: Mapping[str, str] | None = None, log: bool = False) -> None:
        self._child = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if log else subprocess.PIPE,
            stderr=subprocess.PIPE if log else None,
            text=True,
        )
        self.watch = psutil.Process(self._child.pid)

    def read(self) -> dict[str, Any]:
        """The next JSON line of its output (of its log, for servers)."""
        stream = self._child.stdout or self._child.stderr
        assert stream is not None
        for line in stream:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise SystemExit(f"{self._child.args!r} ended early")

    def ask(self, line: str) -> dict[str, Any]:
        """Sends a line, gives the answer."""
        assert self._child.stdin is not None
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()
        return self.read()

    def wait_for(self, event: str) -> dict[str, Any]:
        """Reads its log up to an event."""
        while (line := self.read()).get("event") != event:
            if line["event"] == "no model could be loaded":
                raise SystemExit(line["event"])
        return line

    def peak_mib(self) -> float:
        """The most memory it ever held, in MiB."""
        status = Path(f"/proc/{self.watch.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.send_signal(signal.SIGTERM)
        self._child.communicate(timeout=60)


class Client(Process):
    """The closed-loop client."""

    def __init__(self) -> None:
        super().__init__("-m", "benchmarks.client")

    def load(self, port: int, messages: list[bytes], concurrency: int, seconds: float) -> dict[str, float]:
        """One measurement. See client.closed_loop."""
        texts = [base64.b64encode(message).decode() for message in messages]
        order = {"target": f"127.0.0.1:{port}", "messages": texts, "concurrency": concurrency, "seconds": seconds}
        answer = self.ask(json.dumps(order))
        if answer["errors"]:
            raise SystemExit(f"{answer['errors']} calls failed; figures would lie")
        return answer


class ZooServer(Process):
    """`zoo serve` on free ports."""

    def __init__(self, models: list[str], home: Path, settings: Mapping[str, str]) -> None:
        environment = {"ZOO_HOME": str(home), "ZOO_OFFLINE": "1", "ZOO_LOG_FORMAT": "json", **settings}
        zoo = str(Path(sys.executable).with_name("zoo"))
        chosen = [part for model in models for part in ("--model", model)]
        super().__init__(zoo, "serve", "--port", "0", "--http-port", "0", *chosen, environment=environment, log=True)
        live = self.wait_for("live")
        self.port, self.http_port = int(live["grpc_port"]), int(live["http_port"])
        self.wait_for("ready")

    def batches(self) -> dict[str, float]:
        """Batches and rows executed so far, over all models."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{self.http_port}/metrics", timeout=30) as page:
            families = list(text_string_to_metric_families(page.read().decode()))
        samples = [s for family in families for s in family.samples]
        return {what: sum(s.value for s in samples if s.name == f"zoo_batch_size_{what}") for what in ("count", "sum")}
