"""`zoo datasets`: the datasets of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import connect
from service.cli.options import DEFAULT_SERVER, Json, Server, has_subcommand
from service.cli.rendering.console import escaped, new_table, print_json, print_line, print_note, print_table
from service.cli.rendering.dataset_report import print_dataset_report
from service.cli.rendering.formatting import format_age, format_size, jsonable

if TYPE_CHECKING:
    from service.client import Client, Dataset

app = typer.Typer(help="List, show and delete the datasets of the server.", invoke_without_command=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset, or the beginning of its id.")]


@app.callback()
def datasets(
    ctx: typer.Context,
    kind: Annotated[str, typer.Option(metavar="KIND", help="List only this kind, for example image_folder.")] = "",
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """List the datasets of the server, the newest first."""
    if has_subcommand(ctx):
        return
    with connect(server) as client:
        listed = list(client.datasets(kind=kind))
    if as_json:
        print_json({"server": server, "datasets": jsonable(listed)})
        return
    if not listed:
        print_note("the server has no datasets")
        return
    any_damaged = any(dataset.damaged for dataset in listed)
    head = ("id", "name", "kind", "examples", "classes", "size", "stored", *([""] if any_damaged else []))
    rows = new_table(*head, right=("examples", "classes", "size"))
    for dataset in listed:
        classes = str(len(dataset.report.class_counts) or "")
        examples = "" if dataset.damaged else str(dataset.report.examples)
        cells = (
            dataset.id,
            dataset.display_name,
            "" if dataset.kind == "unspecified" else dataset.kind,
            examples,
            classes,
        )
        damage = [escaped(f"damaged: {dataset.damaged}" if dataset.damaged else "")] if any_damaged else []
        rows.add_row(*map(escaped, cells), format_size(dataset.size_bytes), format_age(dataset.created), *damage)
    print_table(rows)


@app.command("show")
def show(dataset: Id, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show the validation report of a dataset."""
    with connect(server) as client:
        found = find_dataset(client, dataset)
    if as_json:
        print_json({"server": server, "dataset": jsonable(found)})
    else:
        print_dataset_report(found, most_skipped=len(found.report.skipped))


@app.command("delete")
def delete(
    dataset: Id,
    force: Annotated[bool, typer.Option("--force", help="Delete it even while a job uses it; the job fails.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Delete a dataset from the server."""
    with connect(server) as client:
        found = find_dataset(client, dataset)
        freed = client.delete_dataset(found.id, force=force)
    if as_json:
        print_json({"server": server, "deleted": found.id, "freed_bytes": freed})
    else:
        print_line(f"deleted dataset {found.id}, {format_size(freed)} freed")


def find_dataset(client: Client, text: str) -> Dataset:
    """The dataset with this id, or the only one whose id begins with it. Raises NotFound, BadInput."""
    from service.client import BadInput, NotFound

    try:
        return client.dataset(text)
    except NotFound:
        matches = [dataset.id for dataset in client.datasets() if dataset.id.startswith(text)]
        if not matches:
            raise
    if len(matches) > 1:
        raise BadInput(f"{text!r} matches {len(matches)} datasets: {', '.join(matches[:5])}")
    return client.dataset(matches[0])
