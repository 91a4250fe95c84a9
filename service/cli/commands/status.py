"""`zoo status`, `zoo load`, `zoo unload`, `zoo set`: states and options of the server's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import connect
from service.cli.options import DEFAULT_SERVER, Json, Model, Server, parse_assignment
from service.cli.rendering.console import (
    escaped,
    new_table,
    print_error,
    print_json,
    print_line,
    print_table,
    stderr_console,
)
from service.cli.rendering.formatting import format_option, format_size

if TYPE_CHECKING:
    from service.client import ModelInfo

NOT_READY = 1
"""Exit code of a server that is live and not ready."""
NOT_LIVE = 2
"""Exit code if no server answers."""


def status(server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show the state of the server. Exit code: 0 ready, 1 live but not ready, 2 no server answers."""
    from dataclasses import asdict

    with connect(server) as client:
        state = client.status()
    if as_json:
        print_json({"server": server, **asdict(state)})
    elif not state.live:
        print_error(state.problem)
    else:
        print_line(
            f"{server} is live and {'ready' if state.ready else 'not ready'}", "green" if state.ready else "yellow"
        )
        if state.problem:
            print_error(state.problem)
        _print_models(state.models)
    if not state.ready:
        raise typer.Exit(NOT_READY if state.live else NOT_LIVE)


def load(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Load a model on the server; its weights are fetched on first use."""
    from dataclasses import asdict

    console = stderr_console()
    with connect(server) as client, console.status(f"loading {escaped(model)}"):
        loaded = client.load(model)
    if as_json:
        print_json({"server": server, "model": asdict(loaded)})
        return
    print_line(f"{loaded.name} is {loaded.state}" + (f", {_runs(loaded)}" if loaded.device else ""))


def unload(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Unload a model of the server; requests in flight finish first."""
    from dataclasses import asdict

    with connect(server) as client:
        unloaded = client.unload(model)
    if as_json:
        print_json({"server": server, "model": asdict(unloaded)})
        return
    print_line(f"{unloaded.name} is {unloaded.state}" + (f": {unloaded.state_reason}" if unloaded.state_reason else ""))
    if unloaded.held_bytes:
        print_line(
            f"freed {format_size(unloaded.freed_bytes)} of memory; its weights have {format_size(unloaded.held_bytes)}"
        )


def set_options(
    model: Model,
    options: Annotated[
        list[str],
        typer.Argument(
            metavar="OPTION=VALUE...",
            help="Options as `zoo show` lists them, for example max_batch_size=8 weight=2 pinned=true; "
            "OPTION=default restores the default.",
        ),
    ],
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Change options of a model while it serves. Options of loading take effect at its next load."""
    from dataclasses import asdict

    changes = dict(_assignment(text) for text in options)
    with connect(server) as client:
        updated = client.set_options(model, changes)
    if as_json:
        print_json({"server": server, "model": asdict(updated)})
        return
    for name in changes:
        later = ", once it is loaded the next time" if name in updated.at_next_load else ""
        print_line(f"{updated.name}: {name} is {format_option(updated.options.get(name, 'unknown'))}{later}")


def _assignment(text: str) -> tuple[str, str | float | bool | None]:
    """`weight=2` → ("weight", 2); the value `default` becomes None, which restores the default."""
    name, value = parse_assignment(text, "OPTION=VALUE, for example weight=2")
    return name, None if value == "default" else value


def _print_models(models: tuple[ModelInfo, ...]) -> None:
    rows = new_table("model", "state", "versions", "runs", "reason")
    for model in models:
        versions = ", ".join(str(number) for number in model.versions)
        rows.add_row(*(escaped(x) for x in (model.name, model.state, versions, _runs(model), model.state_reason)))
    if models:
        print_table(rows)
    loaded = [model for model in models if model.device]
    if loaded:
        print_line(f"{len(loaded)} loaded, {format_size(sum(model.memory_bytes for model in loaded))} in all")


def _runs(model: ModelInfo) -> str:
    return f"{model.precision} on {model.device}, {format_size(model.memory_bytes)}" if model.device else ""
