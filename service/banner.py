"""Messages on standard output for the person who starts the server: models, addresses, and commands that call them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from service import __version__
from service.addresses import host_and_port, is_unix
from service.cli.options import EXAMPLES as INPUTS
from service.registry.model_status import ModelStatus
from service.registry.states import ModelState
from service.runtime.device import DevicePlan

EXAMPLES = {
    "image": "examples/cat.jpg",
    "text": '"A cat sleeps on the sofa." "A kitten naps on the couch." "Stocks fell sharply."',
    "audio": "examples/speech.flac",
}


def show_live(host: str, port: int, http_port: int, models: Sequence[str], *, tls: bool = False) -> None:
    """Prints the addresses once the ports are open and models load. `host`: as the setting has it."""
    web = f"{'https' if tls else 'http'}://{host_and_port('127.0.0.1' if is_unix(host) else host, http_port)}"
    _print(
        f"Zoo {__version__} is live.",
        f"  gRPC     {host_and_port(host, port)}{', with TLS' if tls else ''}",
        f"  metrics  {web}/metrics    health  {web}/healthz",
        f"  loading  {', '.join(models)} …",
    )


def show_ready(
    statuses: Sequence[ModelStatus], plan: DevicePlan, host: str, port: int, *, tls: bool = False, tokens: bool = False
) -> None:
    """Prints the models once each requested one has loaded or failed. `tokens`: whether calls need one."""
    requested = [status for status in statuses if status.ever_loaded]
    lines = [f"Serving on {plan.name}, {plan.lanes} × {plan.threads_per_lane} threads:"]
    for status in requested:
        what = status.card.task if status.state is ModelState.READY else f"{status.state}: {status.reason}"
        lines.append(f"  {status.name:22}{what}")
    ready = [status for status in requested if status.state is ModelState.READY]
    if ready:
        server = _server(host, port)
        needed = ["ZOO_TLS_CA_FILE or ZOO_TLS=true"] if tls else []
        needed += ["ZOO_TOKEN_FILE or ZOO_TOKEN"] if tokens else []
        lines.append(f"Call it from another terminal{', with ' if needed else ''}{', and '.join(needed)}:")
        lines += [f"  {_command()} predict{server} {s.name} {_example(s.card.raw_input)}" for s in ready]
    _print(*lines)


def _server(host: str, port: int) -> str:
    """The option that a client on this machine needs to find the server; empty for the default address."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104
    address = host_and_port(near, port)
    return "" if address == "127.0.0.1:8001" else f" --server {address}"


def _example(raw_input: str) -> str:
    """An input that exists: the example of the repository if the server runs in it, else a golden input of the package."""
    if raw_input not in EXAMPLES:  # a row, a series or a record of the user's own
        return INPUTS.get(raw_input, "INPUT")
    example = EXAMPLES[raw_input]
    if raw_input == "text" or Path(example).is_file():
        return example
    golden = Path(__file__).resolve().parent.parent / "model_zoo" / "golden" / Path(example).name
    return str(golden) if golden.is_file() else f"FILE.{example.rpartition('.')[2]}"


def _command() -> str:
    """The command `zoo` as it can be typed here: its name if the shell finds it, else its path."""
    beside = Path(sys.executable).with_name("zoo")
    found = shutil.which("zoo")
    if found and Path(found).resolve() == beside.resolve():
        return "zoo"
    try:
        return os.path.relpath(beside) if beside.is_file() and Path.cwd() in beside.parents else str(beside)
    except OSError:
        return str(beside)


def _print(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
