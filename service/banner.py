"""Messages on standard output for the person who starts the server: models, addresses, and commands that call them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from model_zoo import strict_json
from model_zoo.cards.card import Card
from service import __version__
from service.addresses import host_and_port, is_unix
from service.cli.options import EXAMPLES as INPUTS
from service.cli.sample_inputs import sample_of, sample_path
from service.registry.model_status import ModelStatus
from service.registry.states import ModelState
from service.runtime.device import DevicePlan

TEXTS = '"A cat sleeps on the sofa." "A kitten naps on the couch." "Stocks fell sharply."'
OF_TASKS = {
    "text-ranking": '--query "Where is the cat?" "A cat sleeps on the sofa." "Stocks fell sharply."',
    "zero-shot-classification": '"Stocks fell sharply." --label money --label sports',
    "zero-shot-image-classification": "--label cat --label dog",
}
"""Of tasks that need more than an input."""


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
        lines += [f"  {_command()} predict{server} {s.name} {_example(s.card)}" for s in ready]
    _print(*lines)


def _server(host: str, port: int) -> str:
    """The option that a client on this machine needs to find the server; empty for the default address."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104
    address = host_and_port(near, port)
    return "" if address == "127.0.0.1:8001" else f" --server {address}"


def _example(card: Card) -> str:
    """An input that the model takes and that exists: of its card, of the repository where the server runs in it, or of the
    package."""
    sample = sample_of(card)
    match card.raw_input:
        case "image" | "audio" | "video":
            return f"{shlex.quote(sample_path(card.raw_input, sample.file))} {OF_TASKS.get(card.task, '')}".rstrip()
        case "text":
            return shlex.quote(sample.text) if sample.text else OF_TASKS.get(card.task, TEXTS)
        case "row" if sample.row:
            return shlex.quote(strict_json.text(dict(sample.row)))
    return INPUTS.get(card.raw_input, "INPUT")  # a row, a series or a record of the user's own


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
