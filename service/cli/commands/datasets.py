"""`zoo datasets`: what the server can learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import DEFAULT_SERVER, Json, Server, has_subcommand
from service.cli.rendering.console import (
    escaped,
    format_size,
    new_table,
    print_json,
    print_line,
    print_note,
    print_table,
)
from service.cli.rendering.formatting import format_age, jsonable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from service.client import Client, Dataset

app = typer.Typer(help="List, show and delete the datasets of the server.", invoke_without_command=True)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a dataset, or how only one begins.")]
_CLASSES, _SKIPPED = 12, 5


@app.callback()
def datasets(
    ctx: typer.Context,
    kind: Annotated[str, typer.Option(metavar="KIND", help="Only this kind, for example image_folder.")] = "",
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """List the datasets of the server, the newest first."""
    if has_subcommand(ctx):
        return
    from service.client import Client

    with Client(server) as client:
        listed = list(client.datasets(kind=kind))
    if as_json:
        print_json({"server": server, "datasets": jsonable(listed)})
        return
    if not listed:
        print_note("the server has no datasets")
        return
    damage = any(one.damaged for one in listed)
    head = ("id", "name", "kind", "examples", "classes", "size", "stored", *([""] if damage else []))
    rows = new_table(*head, right=("examples", "classes", "size"))
    for one in listed:
        classes = str(len(one.report.class_counts) or "")
        examples = "" if one.damaged else str(one.report.examples)
        words = (one.id, one.display_name, "" if one.kind == "unspecified" else one.kind, examples, classes)
        why = [escaped(f"damaged: {one.damaged}" if one.damaged else "")] if damage else []
        rows.add_row(*map(escaped, words), format_size(one.size_bytes), format_age(one.created), *why)
    print_table(rows)


@app.command("show")
def show(dataset: Id, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show what was found in a dataset."""
    from service.client import Client

    with Client(server) as client:
        found = find_dataset(client, dataset)
    if as_json:
        print_json({"server": server, "dataset": jsonable(found)})
    else:
        print_report(found, most_skipped=len(found.report.skipped))


@app.command("delete")
def delete(
    dataset: Id,
    force: Annotated[bool, typer.Option("--force", help="Even while a job uses it; the job fails.")] = False,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Delete a dataset from the server."""
    from service.client import Client

    with Client(server) as client:
        found = find_dataset(client, dataset)
        freed = client.delete_dataset(found.id, force=force)
    if as_json:
        print_json({"server": server, "deleted": found.id, "freed_bytes": freed})
    else:
        print_line(f"deleted dataset {found.id}, {format_size(freed)} freed")


def find_dataset(client: Client, text: str) -> Dataset:
    """The dataset of that id, or the only one whose id begins so. Raises NotFound, BadInput."""
    from service.client import BadInput, NotFound

    try:
        return client.dataset(text)
    except NotFound:
        fitting = [one.id for one in client.datasets() if one.id.startswith(text)]
        if not fitting:
            raise
    if len(fitting) > 1:
        raise BadInput(f"{text!r} fits {len(fitting)} datasets: {', '.join(fitting[:5])}")
    return client.dataset(fitting[0])


def print_report(dataset: Dataset, most_skipped: int = _SKIPPED) -> None:
    """What validation said, for people."""
    if dataset.damaged:
        print_line(f"dataset {dataset.id} is damaged: {dataset.damaged}", "red")
        print_line(f"  `zoo datasets delete {dataset.id}` removes it; upload the data again")
        return
    report = dataset.report
    where = f" ({dataset.display_name})" if dataset.display_name else ""
    classes = f" of {len(report.class_counts)} classes" if report.class_counts else ""
    print_line(f"dataset {dataset.id}{where}: {report.examples} examples{classes}, {dataset.kind}")
    for line in report.inferred:
        print_line(f"  {line}")
    if report.class_counts:
        print_line(f"  {_counts(report.class_counts)}")
    if report.split_counts:
        print_line(f"  split as given: {_counts(report.split_counts)}")
    if report.target_statistics:
        print_line(
            "  target: " + ", ".join(f"{name} {value:.4g}" for name, value in sorted(report.target_statistics.items()))
        )
    if report.duplicates:
        groups = "content is" if report.duplicates == 1 else "contents are"
        print_line(f"  {report.duplicates} {groups} there more than once")
    if dataset.left_out:
        print_line(f"  not sent {len(dataset.left_out)}:", "yellow")
        for one in dataset.left_out[:most_skipped]:
            print_line(f"    {one.name} {one.reason}", "yellow")
        if len(dataset.left_out) > most_skipped:
            print_line(f"    … and {len(dataset.left_out) - most_skipped} more", "yellow")
    if report.skipped_count:
        of = f" of {report.input_count}" if report.input_count else ""
        print_line(f"  left out {report.skipped_count}{of}:", "yellow")
        if len(report.skipped_reasons) > 1:
            for reason, count in sorted(report.skipped_reasons.items(), key=lambda item: -item[1]):
                print_line(f"    {count} × {reason}", "yellow")
        for skipped in report.skipped[:most_skipped]:
            row = f", row {skipped.row}" if skipped.row else ""
            print_line(f"    {skipped.file}{row}: {skipped.reason}", "yellow")
        if report.skipped_count > most_skipped and most_skipped < len(report.skipped):
            print_line(f"    … `zoo datasets show {dataset.id}` has more", "yellow")
    for warning in report.warnings:
        print_line(f"  warning: {warning}", "yellow")


def _counts(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" … ({len(most)} in all)" if len(most) > _CLASSES else ""
    return ", ".join(f"{name} {number}" for name, number in most[:_CLASSES]) + more
