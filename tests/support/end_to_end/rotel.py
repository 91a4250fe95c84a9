"""Rotel, a collector of OpenTelemetry, as a process that prints every span that it takes.

Imports only the standard library, since the stock clients use it in an environment without Zoo.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.end_to_end.bare_server import free_ports
from tests.support.end_to_end.components import find_command
from tests.support.end_to_end.server_process import REPOSITORY, TIMEOUT_S, until

_FIELD = re.compile(r"^(?:    )?(?P<name>[A-Z][A-Za-z ]*?) *: (?P<value>.*)$")
_ATTRIBUTE = re.compile(r"^ +-> (?P<name>[^:]+): (?P<kind>Str|Int|Double|Bool)\((?P<value>.*)\)$")


@dataclass
class PrintedSpan:
    """A span as Rotel prints it."""

    fields: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.fields["Name"]

    @property
    def trace(self) -> str:
        return self.fields["Trace ID"]

    @property
    def parent(self) -> str:
        return self.fields["Parent ID"]

    @property
    def id(self) -> str:
        return self.fields["ID"]

    @property
    def start_ns(self) -> int:
        return int(self.fields["Start time"])

    @property
    def end_ns(self) -> int:
        return int(self.fields["End time"])


class Rotel:
    """A running collector."""

    def __init__(self, port: int, log: Path) -> None:
        self.port, self._log = port, log

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def spans(self) -> list[PrintedSpan]:
        """All spans that it has taken."""
        found: list[PrintedSpan] = []
        for line in self._log.read_text(errors="replace").splitlines():
            if line.startswith("Span #"):
                found.append(PrintedSpan())
            elif line.startswith(("ResourceSpans #", "ScopeSpans #")):
                continue
            elif found and (attribute := _ATTRIBUTE.match(line)):
                found[-1].attributes[attribute["name"]] = attribute["value"]
            elif found and (one := _FIELD.match(line)):
                found[-1].fields.setdefault(one["name"].strip(), one["value"])
        return found

    def wait_for(self, trace: str, count: int) -> list[PrintedSpan]:
        """The spans of a trace, once there are so many. Rotel may be in the middle of printing one."""
        found: list[PrintedSpan] = []

        def complete() -> bool:
            found[:] = [span for span in self.spans() if span.fields.get("Trace ID") == trace]
            servers = [span for span in found if span.fields.get("Kind") == "SPAN_KIND_SERVER"]
            return len(found) >= count and all(span.attributes for span in servers)

        until(complete, f"{count} spans of the trace {trace}")
        return found


@contextmanager
def rotel(folder: Path) -> Iterator[Rotel]:
    """Starts Rotel on free ports of the loopback interface. Skips the test if it is missing."""
    places = (REPOSITORY / ".venv" / "lib").glob("python3*/site-packages/rotel/rotel-agent")
    command = find_command("rotel-agent", next(places, None), "PyPI's package rotel")
    grpc_port, http_port = free_ports(2)
    log = folder / "rotel.log"
    line = [command, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}", "--exporter", "blackhole"]
    line += [
        "--otlp-http-endpoint",
        f"127.0.0.1:{http_port}",
        "--debug-log",
        "traces",
        "--debug-log-verbosity",
        "detailed",
    ]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ROTEL_")}
    with log.open("w") as output:
        process = subprocess.Popen(line, stdout=output, stderr=subprocess.STDOUT, env=variables, cwd=folder)
    try:
        until(lambda: "Starting Rotel" in log.read_text() or process.poll() is not None, "Rotel")
        assert process.poll() is None, log.read_text()
        yield Rotel(grpc_port, log)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
