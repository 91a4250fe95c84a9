"""`zoo versions`, `report`, `promote`, `rollback`, `canary`, `alias`: the versions of a model and which of them serve."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import connect
from service.cli.options import DEFAULT_SERVER, Json, Model, Server
from service.cli.rendering.console import escaped, new_table, print_error, print_json, print_line, print_table
from service.cli.rendering.formatting import format_age, format_size, format_value, jsonable

if TYPE_CHECKING:
    from service.client import ModelInfo, ModelVersion, Traffic

Number = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Number of a version.")]


def versions(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """List the versions of a model, the newest first."""
    with connect(server) as client:
        found = client.versions(model)
    if as_json:
        print_json({"server": server, "model": model, **jsonable(found)})
        return
    rows = new_table(
        "version", "aliases", "state", "base", "method", "metrics", "size", "published", right=("version", "size")
    )
    for version in found.versions:
        lineage = version.lineage
        cells = (
            ", ".join(version.aliases),
            _state(version),
            lineage.base if lineage else "",
            lineage.method if lineage else "",
            _metrics(version),
        )
        rows.add_row(
            str(version.number), *map(escaped, cells), format_size(version.size_bytes), format_age(version.created)
        )
    print_table(rows)
    _print_traffic(found.traffic)


def report(
    model: Model,
    version: Annotated[str, typer.Option(metavar="V", help="Number or alias of a version. Default: stable.")] = "",
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report with curves and mistakes to this file.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Show the evaluation of a fine-tuned version on held-out data."""
    from service.cli.rendering.job_outcome import column_lines, metrics_table
    from service.cli.rendering.runtime_notes import report_lines

    with connect(server) as client:
        found = client.report(model, version)
    if html is not None:
        try:
            html.write_bytes(found.html)
        except OSError as error:
            print_error(f"cannot write {str(html)!r}: {(error.strerror or 'unknown reason').lower()}")
            raise typer.Exit(1) from None
    if as_json:
        print_json({"server": server, "model": model, "version": found.version, "report": jsonable(found.report)})
        return
    print_line(f"{model} version {found.version}, {found.report.get('task', '')}")
    print_table(metrics_table(found.report))
    if found.report.get("primary"):
        print_line("* decides about promotion")
    for line in (*column_lines(found.report), *report_lines(found.report)):
        print_line(line)
    if html is not None:
        print_line(f"the whole report is in {html}")


def promote(model: Model, version: Number, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Make a version stable, without regard to its report."""
    with connect(server) as client:
        _print_change(client.promote(model, version), f"version {version} of {model} is stable now", server, as_json)


def rollback(model: Model, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Make the previous stable version stable again."""
    with connect(server) as client:
        done = client.rollback(model)
    stable = done.model.aliases.get("stable", done.model.traffic.stable)
    sentence = f"version {stable} of {model} is stable again, in place of version {done.rolled_back}"
    _print_change(done.model, sentence, server, as_json)


def canary(
    model: Model,
    version: Annotated[int, typer.Argument(metavar="[VERSION]", min=0, help="Number of a version.")] = 0,
    share: Annotated[
        float,
        typer.Option(metavar="S", min=0, max=1, help="Share of the calls that name no version; 0 ends the canary."),
    ] = 0.1,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Send a share of the calls that name no version to a version. The server ends the canary if it fails or is slow."""
    if share > 0 and not version:
        raise typer.BadParameter("give the number of a version, or end the canary with --share 0", param_hint="VERSION")
    with connect(server) as client:
        changed = client.set_canary(model, version, share)
    sentence = f"version {version} of {model} gets {share:.0%} of the calls" if share else f"{model} has no canary now"
    _print_change(changed, sentence, server, as_json)


def alias(
    model: Model,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The alias, for example best.")],
    version: Annotated[int, typer.Argument(metavar="[VERSION]", min=0, help="Number of a version.")] = 0,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the alias.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Point an alias at a version, or remove it."""
    if delete == bool(version):
        raise typer.BadParameter("give the number of a version, or --delete", param_hint="VERSION")
    with connect(server) as client:
        if delete:
            _print_change(client.delete_alias(model, name), f"{model} has no alias {name} now", server, as_json)
        else:
            changed = client.set_alias(model, name, version)
            _print_change(changed, f"{name} is version {version} of {model} now", server, as_json)


def _print_change(model: ModelInfo, sentence: str, server: str, as_json: bool) -> None:
    if as_json:
        print_json({"server": server, "model": jsonable(model)})
    else:
        print_line(sentence)


def _print_traffic(traffic: Traffic) -> None:
    if traffic.canary and traffic.canary_share:
        print_line(f"version {traffic.canary} gets {traffic.canary_share:.0%} of the calls that name no version")
    if traffic.rolled_back_reason:
        print_line(f"the last canary lost its share: {traffic.rolled_back_reason}", "yellow")


def _state(version: ModelVersion) -> str:
    if version.damaged and not version.state_reason:
        return f"{version.state}, and damaged on disk: {version.damaged}"
    return f"{version.state}: {version.state_reason}" if version.state_reason else version.state


def _metrics(version: ModelVersion) -> str:

    if version.lineage is None:
        return ""
    return ", ".join(f"{name} {format_value(value)}" for name, value in sorted(version.lineage.metrics.items()))
