"""`zoo serve` without readable output, observed through its ports."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.end_to_end.server_process import (
    REPOSITORY,
    TIMEOUT_S,
    ZOO,
    environment,
    until,
)
from tests.support.preloaded_process import PreloadedProcess


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that are free now."""
    sockets = [socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) for _ in range(count)]
    for one in sockets:
        one.bind((host, 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class BareServer:
    """Leaving the context sends SIGTERM and checks that the exit code is 0."""

    def __init__(
        self,
        *arguments: str,
        host: str = "127.0.0.1",
        cwd: Path = REPOSITORY,
        before: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        without: Sequence[str] = (),
        cold: bool = True,
        **streams: Any,
    ) -> None:
        """`before`: words in front of the command; `without`: variables to remove; `streams`: arguments of Popen. `cold`: see
        ServerProcess."""
        self.port, self.http_port = free_ports(2, host)
        self.address = f"[{host}]" if ":" in host else host
        variables = environment(**(settings or {}))
        for name in without:
            variables.pop(name, None)
        line = ["serve", "--port", str(self.port), "--http-port", str(self.http_port), *arguments]
        self.process: PreloadedProcess | subprocess.Popen[bytes]
        if cold:
            self.process = subprocess.Popen([*before, str(ZOO), *line], cwd=cwd, env=variables, **streams)
        else:
            self.process = PreloadedProcess(["zoo", *line], cwd=cwd, env=variables, **streams)

    @property
    def target(self) -> str:
        return f"{self.address}:{self.port}"

    def get(self, path: str) -> str:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{self.address}:{self.http_port}{path}", timeout=TIMEOUT_S) as reply:
            text: str = reply.read().decode()
        return text

    def live(self) -> BareServer:
        """Returns once the ports are open."""
        until(lambda: self._health() is not None, "a live server")
        return self

    def ready(self) -> BareServer:
        """Returns once a model serves."""
        until(lambda: (self._health() or {}).get("ready") is True, "a ready server")
        return self

    def lost_lines(self) -> float:
        """The metric of lost log lines."""
        [line] = [line for line in self.get("/metrics").splitlines() if line.startswith("zoo_log_lines_lost_total ")]
        return float(line.split()[1])

    def _health(self) -> dict[str, Any] | None:
        assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
        try:
            found: dict[str, Any] = json.loads(self.get("/healthz"))
        except urllib.error.URLError:
            return None
        return found

    def __enter__(self) -> BareServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end") from error
        if kind is None:
            assert code == 0, f"exit code {code}"
