"""A collector of traces for measurements: Rotel, which takes spans and drops them. Its own time is no server's."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

START_S = 20.0


class NoCollector(Exception):
    """Rotel is not installed."""


@contextmanager
def collector() -> Iterator[str]:
    """Starts Rotel on free ports of the loopback interface; gives the endpoint for ZOO_OTLP_ENDPOINT. Raises NoCollector."""
    found = find_spec("rotel")
    if found is None or found.origin is None:
        raise NoCollector("PyPI's package rotel is missing")
    ports = [_free_port(), _free_port()]
    command = [str(Path(found.origin).with_name("rotel-agent")), "start", "--exporter", "blackhole"]
    command += ["--otlp-grpc-endpoint", f"127.0.0.1:{ports[0]}", "--otlp-http-endpoint", f"127.0.0.1:{ports[1]}"]
    with tempfile.TemporaryDirectory(prefix="zoo-rotel-") as folder:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        try:
            _wait_for(ports[0])
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with closing(socket.socket()) as one:
            if not one.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.05)
    raise TimeoutError("Rotel did not start")
