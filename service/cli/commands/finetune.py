"""`zoo finetune`: fine-tunes a model on data in one command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.connection import connect
from service.cli.exit_codes import INTERRUPTED
from service.cli.options import DEFAULT_SERVER, Json, Owner, Server, parse_assignment
from service.cli.rendering.console import (
    escaped,
    print_json,
    print_line,
    print_note,
    quoted,
    stderr_console,
)
from service.cli.rendering.formatting import jsonable

if TYPE_CHECKING:
    from service.client import Client, Columns, Dataset, Job

_METHODS = ("auto", "head", "full", "lora")
_METHOD_NAMES = "auto, head, full or lora"
_COLUMN = "COLUMN"
_ROLES = ("text", "target", "image", "time", "series", "split", "text_pair")
_SPEC_OPTIONS = {"base": "BASE", "model": "--name", "task": "--task", "method": "--method", "priority": "--priority"}
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
    "header.columns.label_separator": "--label-separator",
    "spec.seed": "--seed",
    **{f"header.columns.{role}": f"--{role.replace('_', '-')}" for role in _ROLES},
    **{f"spec.{field}": option for field, option in _SPEC_OPTIONS.items()},
}
"""Field of a request → the option or argument that sets it."""


def finetune(
    base: Annotated[
        str,
        typer.Argument(
            metavar="BASE", help="Model to start from, as `zoo models` lists it, or a reference as `zoo pull` takes it."
        ),
    ],
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="File, folder, URI below a dataset root of the server, or id of a dataset."
        ),
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Model that gets the result as its next version.")
    ],
    method: Annotated[str, typer.Option(metavar="METHOD", help=f"Fine-tuning method: {_METHOD_NAMES}.")] = "auto",
    task: Annotated[
        str, typer.Option(metavar="TASK", help="Task of the result; overrides what the data suggest.")
    ] = "",
    kind: Annotated[str, typer.Option(metavar="KIND", help="Kind of the data, for example image_folder.")] = "",
    text: Annotated[str, typer.Option(metavar=_COLUMN, help="Column of the text.")] = "",
    text_pair: Annotated[
        str, typer.Option(metavar=_COLUMN, help="Column of a second text, which is read together with the first.")
    ] = "",
    label_separator: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Text between the classes of the target, for example '|', if a row may have several."
        ),
    ] = "",
    target: Annotated[str, typer.Option(metavar=_COLUMN, help="Column of the label or number to predict.")] = "",
    image: Annotated[str, typer.Option(metavar=_COLUMN, help="Column that names the file of a picture.")] = "",
    time: Annotated[str, typer.Option(metavar=_COLUMN, help="Column of the time, in a table of series.")] = "",
    series: Annotated[str, typer.Option(metavar=_COLUMN, help="Column that identifies the series of a row.")] = "",
    split: Annotated[str, typer.Option(metavar=_COLUMN, help="Column with train, validation or test.")] = "",
    ignore: Annotated[
        list[str] | None, typer.Option(metavar=_COLUMN, help="Column to ignore; may be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Hyperparameter, for example learning_rate=0.001; may be repeated."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Random seed of training. It does not affect the split.")
    ] = 0,
    priority: Annotated[
        int, typer.Option(metavar="N", min=0, max=9, help="Order in the queue: 1 first, 9 last; 0 is the default.")
    ] = 0,
    promote: Annotated[bool, typer.Option(help="Move `stable` to the result if it is better.")] = True,
    watch: Annotated[
        bool, typer.Option("--watch/--detach", help="Wait until the job has ended, or only create it.")
    ] = True,
    owner: Owner = "",
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Fine-tune BASE on DATA, and serve the result as NAME. Exit code 1 if the job fails; Ctrl-C leaves it running."""
    # The command line is checked before the slow imports, and before a server is called.
    if method.lower() not in _METHODS:
        raise typer.BadParameter(f"expected {_METHOD_NAMES}, got {quoted(method)}", param_hint="--method")
    if is_missing(data):
        raise typer.BadParameter(f"there is no file or folder {quoted(data)}", param_hint="DATA")
    hyperparameters = dict(
        parse_assignment(setting, "NAME=VALUE, for example learning_rate=0.001") for setting in settings or []
    )

    from model_zoo.references.reference import is_reference
    from service.cli.inputs.training_table import known_target
    from service.cli.pulled_base import pulled_base
    from service.cli.rendering.job_outcome import print_outcome
    from service.cli.rendering.job_progress import follow_job
    from service.client import Columns, ZooClientError
    from service.client.upload import kinds_in

    roles = {"text": text, "target": target, "image": image, "time": time, "series": series, "split": split}
    roles |= {"text_pair": text_pair, "label_separator": label_separator}
    columns_by_role = {role: column for role, column in roles.items() if column}
    columns = Columns(**columns_by_role, ignored=tuple(ignore or ())) if columns_by_role or ignore else None
    job_options: dict[str, Any] = {"task": task, "method": method.lower(), "hyperparameters": hyperparameters}
    job_options |= {"seed": seed, "priority": priority}
    with connect(server, owner=owner) as client:
        try:
            dataset = _find_stored(client, data, kind, columns)
            if is_reference(base):
                base = pulled_base(client, base, server)
            if not target and kind in ("", "table") and (target := known_target(client, base, data)):
                columns = replace(columns or Columns(), target=target)
                print_note(f"the target is column {target!r}, which {base} predicts; --target decides otherwise")
            if dataset is None:
                # The server checks the job first, so that a job that it rejects costs no upload.
                client.check_job(base, name, kinds=(kind,) if kind else kinds_in(data), **job_options)
                dataset = _upload(client, data, kind, columns, task)
            _show_dataset(dataset, as_json)
            job = client.create_job(base, dataset.id, name, promote=promote, **job_options)
        except ZooClientError as error:
            error.args = (with_option_names(error.message),)
            raise
        if as_json:
            print_json({"job": jsonable(job)})
        if watch:
            ended = follow_job(client, job, server=server, as_json=as_json)
            print_outcome(client, ended, server=server, as_json=as_json, data=data)
        elif not as_json:
            _print_detached(job, server)


def is_missing(data: str) -> bool:
    """Whether the data of a job are written as a path to nothing. Anything else may be a URI or the id of a dataset."""
    from pathlib import Path

    written_as_path = "://" not in data and ("/" in data or "." in data)
    try:
        return written_as_path and not Path(data).exists()
    except ValueError:  # a NUL character
        return True


def with_option_names(message: str) -> str:
    """An error of the server, with the option or argument in place of the request's field."""
    field, colon, problem = message.partition(": ")
    hyperparameter = field.removeprefix("spec.hyperparameters.")
    if hyperparameter != field:
        return f"--set {hyperparameter}: {problem}"
    return f"{OPTION_NAMES.get(field, field)}{colon}{problem}"


def _find_stored(client: Client, data: str, kind: str, columns: Columns | None) -> Dataset | None:
    """The stored dataset that `data` names; None if it names a file, a folder or a URI."""
    from pathlib import Path

    from service.cli.commands.datasets import find_dataset
    from service.client import BadInput, NotFound
    from service.client.upload import refuse_blank

    refuse_blank(data)
    if "://" in data or Path(data).exists():
        return None
    try:
        found = find_dataset(client, data)
    except NotFound:
        raise BadInput(f"{data!r} is neither a file or folder nor a dataset of the server") from None
    if columns is not None or kind:
        raise BadInput(
            f"{data!r} is stored already, so its kind and columns cannot change; upload the data again to change them"
        )
    return found


def _upload(client: Client, data: str, kind: str, columns: Columns | None, task: str) -> Dataset:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = stderr_console()
    columns_shown = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    speed = (TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns_shown, *speed, console=console, transient=True, disable=not console.is_terminal) as bar:
        task_id = bar.add_task("preparing", total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task_id, completed=done, total=total or None, description=escaped(what))

        try:
            return client.upload_dataset(data, kind=kind, columns=columns, task=task, progress=progress)
        except KeyboardInterrupt:
            bar.stop()
            print_note("stopped; the server keeps the data sent so far, and the same command continues from there")
            raise typer.Exit(INTERRUPTED) from None


def _show_dataset(dataset: Dataset, as_json: bool) -> None:
    from service.cli.rendering.dataset_report import print_dataset_report

    if as_json:
        print_json({"dataset": jsonable(dataset)})
        return
    if dataset.existed:
        print_note("the server has these data already")
    print_dataset_report(dataset)


def _print_detached(job: Job, server: str) -> None:
    where = "" if server == DEFAULT_SERVER else f" --server {server}"
    print_line(f"job {job.id} is {job.state}")
    print_line("to watch it:")
    print_line(f"  zoo jobs watch {job.id}{where}")
