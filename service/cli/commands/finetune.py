"""`zoo finetune`: from data to the next version of a model, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import DEFAULT_SERVER, Json, Owner, Server, parse_assignment
from service.cli.rendering.console import (
    escaped,
    print_json,
    print_line,
    print_note,
    stderr_console,
)
from service.cli.rendering.formatting import jsonable

if TYPE_CHECKING:
    from service.client import Client, Columns, Dataset, Job

_METHODS = "auto, head, full or lora"
_COLUMN = "COLUMN"
_ROLES = ("text", "target", "image", "time", "series", "split")
_SPEC = {"base": "BASE", "model": "--name", "task": "--task", "method": "--method", "priority": "--priority"}
OPTION_NAMES = {
    "data": "DATA",
    "header.file_name": "DATA",
    "header.uri": "DATA",
    "kind": "--kind",
    "method": "--method",
    "header.kind": "--kind",
    "header.task": "--task",
    "zoo-owner": "--owner",
    "header.columns.ignored": "--ignore",
    "spec.seed": "--seed",
    **{f"header.columns.{role}": f"--{role}" for role in _ROLES},
    **{f"spec.{field}": option for field, option in _SPEC.items()},
}
"""What a field of a request is called on the command line."""


def finetune(
    base: Annotated[str, typer.Argument(metavar="BASE", help="Model to start from, as `zoo models` lists it.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="File, folder, URI under the server's roots, or id of a dataset.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Model whose next version the result becomes.")],
    method: Annotated[str, typer.Option(metavar="METHOD", help=f"How the base is adapted: {_METHODS}.")] = "auto",
    task: Annotated[
        str, typer.Option(metavar="TASK", help="What the result does; decides over what the data look like.")
    ] = "",
    kind: Annotated[str, typer.Option(metavar="KIND", help="Kind of data, for example image_folder.")] = "",
    text: Annotated[str, typer.Option(metavar=_COLUMN, help="Column of the text.")] = "",
    target: Annotated[str, typer.Option(metavar=_COLUMN, help="Column of the label or number to learn.")] = "",
    image: Annotated[str, typer.Option(metavar=_COLUMN, help="Column that names a picture's file.")] = "",
    time: Annotated[str, typer.Option(metavar=_COLUMN, help="Column of the time, in a table of series.")] = "",
    series: Annotated[str, typer.Option(metavar=_COLUMN, help="Column that tells series apart.")] = "",
    split: Annotated[str, typer.Option(metavar=_COLUMN, help="Column with train, validation or test.")] = "",
    ignore: Annotated[list[str] | None, typer.Option(metavar=_COLUMN, help="Column not to look at.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Hyperparameter, for example learning_rate=0.001."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of every random choice but that of what is held out.")
    ] = 0,
    priority: Annotated[int, typer.Option(metavar="N", min=0, max=9, help="1 goes first, 9 last, 0 as usual.")] = 0,
    promote: Annotated[bool, typer.Option(help="Let `stable` move to the result if it is better.")] = True,
    watch: Annotated[bool, typer.Option("--watch/--detach", help="Wait for the end, or only create the job.")] = True,
    owner: Owner = "",
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Teach a base your data; the result is served under NAME. Exit code 1 if the job fails; Ctrl-C leaves it running."""
    from service.cli.rendering.job_outcome import print_outcome
    from service.cli.rendering.job_progress import follow_job
    from service.client import Client, Columns, ZooClientError
    from service.client.upload import kinds_in

    chosen = dict(
        parse_assignment(setting, "NAME=VALUE, for example learning_rate=0.001") for setting in settings or []
    )
    roles = {"text": text, "target": target, "image": image, "time": time, "series": series, "split": split}
    given = {role: column for role, column in roles.items() if column}
    columns = Columns(**given, ignored=tuple(ignore or ())) if given or ignore else None
    how: dict[str, Any] = {"task": task, "method": method.lower(), "hyperparameters": chosen}
    how |= {"seed": seed, "priority": priority}
    with Client(server, owner=owner) as client:
        try:
            dataset = _stored(client, data, kind, columns)
            if dataset is None:
                # What will be refused is refused before anything is sent.
                client.check_job(base, name, kinds=(kind,) if kind else kinds_in(data), **how)
                dataset = _upload(client, data, kind, columns, task)
            _show_dataset(dataset, as_json)
            job = client.create_job(base, dataset.id, name, promote=promote, **how)
        except ZooClientError as error:
            error.args = (with_option_names(error.message),)
            raise
        if as_json:
            print_json({"job": jsonable(job)})
        if watch:
            print_outcome(
                client, follow_job(client, job, server=server, as_json=as_json), server=server, as_json=as_json
            )
        elif not as_json:
            _tell_detached(job, server)


def with_option_names(message: str) -> str:
    """A refusal with the option that was typed, in place of the request's field, which was not."""
    field, colon, problem = message.partition(": ")
    hyperparameter = field.removeprefix("spec.hyperparameters.")
    if hyperparameter != field:
        return f"--set {hyperparameter}: {problem}"
    return f"{OPTION_NAMES.get(field, field)}{colon}{problem}"


def _stored(client: Client, data: str, kind: str, columns: Columns | None) -> Dataset | None:
    """The dataset of the server that is meant; None where the data are a file, a folder or at a URI."""
    from pathlib import Path

    from service.cli.commands.datasets import find_dataset
    from service.client import BadInput, NotFound
    from service.client.upload import refuse_blank

    refuse_blank(data)
    if "://" in data or Path(data).exists():
        return None
    if "/" in data or "." in data:
        raise BadInput(f"there is no file or folder {data!r}")
    try:
        found = find_dataset(client, data)
    except NotFound:
        raise BadInput(f"{data!r} is no file, no folder and no dataset of the server") from None
    if columns is not None or kind:
        raise BadInput(
            f"{data!r} is stored already, its kind and columns stay as they are; upload it anew to change them"
        )
    return found


def _upload(client: Client, data: str, kind: str, columns: Columns | None, task: str) -> Dataset:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = stderr_console()
    shown = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    speed = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*shown, *speed, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown_bar = bar.add_task("asking", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(shown_bar, completed=done, total=total or None, description=escaped(what))

        try:
            return client.upload_dataset(data, kind=kind, columns=columns, task=task, progress=progress)
        except KeyboardInterrupt:
            bar.stop()
            print_note("stopped; what was sent is kept, and the same command goes on where it stopped")
            raise typer.Exit(130) from None


def _show_dataset(dataset: Dataset, as_json: bool) -> None:
    from service.cli.commands.datasets import print_report

    if as_json:
        print_json({"dataset": jsonable(dataset)})
        return
    if dataset.existed:
        print_note("the server had these data already")
    print_report(dataset)


def _tell_detached(job: Job, server: str) -> None:
    where = "" if server == DEFAULT_SERVER else f" --server {server}"
    print_line(f"job {job.id} is {job.state}")
    print_line("to watch it:")
    print_line(f"  zoo jobs watch {job.id}{where}")
