"""`zoo status`, `zoo load`, `zoo unload`, `zoo set`: the life of a server's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import DEFAULT_SERVER, Json, Model, Server, parse_assignment
from service.cli.rendering.console import (
    escaped,
    format_option,
    format_size,
    new_table,
    print_error,
    print_json,
    print_line,
    print_table,
    stderr_console,
)

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
        print_error(found.problem)
    else:
        print_line(
            f"{server} is live and {'ready' if found.ready else 'not ready'}", "green" if found.ready else "yellow"
        )
        if found.problem:
            print_error(found.problem)
        _print_models(found.models)
    if not found.ready:
        raise typer.Exit(NOT_READY if found.live else NOT_LIVE)


def load(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Make a model of the server ready, fetching its weights on first use."""
    from dataclasses import asdict

    from service.client import Client

    console = stderr_console()
    with Client(server) as client, console.status(f"loading {escaped(model)}"):
        loaded = client.load(model)
    if as_json:
        print_json({"server": server, "model": asdict(loaded)})
        return
    print_line(f"{loaded.name} is {loaded.state}" + (f", {_runs(loaded)}" if loaded.device else ""))


def unload(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Take a model of the server out of service; what it is working on is finished first."""
    from dataclasses import asdict

    from service.client import Client

    with Client(server) as client:
        unloaded = client.unload(model)
    if as_json:
        print_json({"server": server, "model": asdict(unloaded)})
        return
    print_line(f"{unloaded.name} is {unloaded.state}" + (f": {unloaded.state_reason}" if unloaded.state_reason else ""))
    if unloaded.held_bytes:
        print_line(f"freed {format_size(unloaded.freed_bytes)} of {format_size(unloaded.held_bytes)}")


def set_options(
    model: Model,
    options: Annotated[
        list[str],
        typer.Argument(
            metavar="OPTION=VALUE...",
            help="Options as `zoo show` lists them, for example max_batch_size=8 weight=2 pinned=true; "
            "OPTION=default takes one back to its default.",
        ),
    ],
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Change how a model is served, while it is; what concerns how it is made takes effect at its next load."""
    from dataclasses import asdict

    from service.client import Client

    changes = dict(_assignment(text) for text in options)
    with Client(server) as client:
        updated = client.set_options(model, changes)
    if as_json:
        print_json({"server": server, "model": asdict(updated)})
        return
    for name in changes:
        later = ", once it is loaded the next time" if name in updated.at_next_load else ""
        print_line(f"{updated.name}: {name} is {format_option(updated.options.get(name, 'unknown'))}{later}")


def _assignment(text: str) -> tuple[str, str | float | bool | None]:
    """`weight=2` → ("weight", 2); `default` takes an option back."""
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
