"""`zoo status`, `zoo load`, `zoo unload`: the life of a server's models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from service.cli.console import complain, err, harmless, megabytes, print_json, say, show_table, table
from service.cli.options import DEFAULT_SERVER, Json, Model, Server

if TYPE_CHECKING:
    from service.client import ModelInfo

NOT_READY = 1
NOT_LIVE = 2


def status(server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Tell how the server is. Exit code: 0 ready, 1 live but not ready, 2 no server answers."""
    from dataclasses import asdict

    from service.client import Client

    with Client(server) as client:
        found = client.status()
    if as_json:
        print_json({"server": server, **asdict(found)})
    elif not found.live:
        complain(found.problem)
    else:
        say(f"{server} is live and {'ready' if found.ready else 'not ready'}", "green" if found.ready else "yellow")
        if found.problem:
            complain(found.problem)
        _print_models(found.models)
    if not found.ready:
        raise typer.Exit(NOT_READY if found.live else NOT_LIVE)


def load(model: Model, server: Server = DEFAULT_SERVER) -> None:
    """Make a model of the server ready, fetching its weights on first use."""
    from service.client import Client

    console = err()
    with Client(server) as client, console.status(f"loading {harmless(model)}"):
        loaded = client.load(model)
    say(f"{loaded.name} is {loaded.state}" + (f", {_runs(loaded)}" if loaded.device else ""))


def unload(model: Model, server: Server = DEFAULT_SERVER) -> None:
    """Take a model of the server out of service; what it is working on is finished first."""
    from service.client import Client

    with Client(server) as client:
        unloaded = client.unload(model)
    say(f"{unloaded.name} is {unloaded.state}" + (f": {unloaded.state_reason}" if unloaded.state_reason else ""))


def _print_models(models: tuple[ModelInfo, ...]) -> None:
    rows = table("model", "state", "versions", "runs", "reason")
    for model in models:
        versions = ", ".join(str(number) for number in model.versions)
        rows.add_row(*(harmless(x) for x in (model.name, model.state, versions, _runs(model), model.state_reason)))
    if models:
        show_table(rows)


def _runs(model: ModelInfo) -> str:
    return f"{model.precision} on {model.device}, {megabytes(model.memory_bytes)}" if model.device else ""
