"""`zoo photos index`: brings the index of a folder up to date."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.commands.photos.arguments import Folder, IndexFile, index_path
from service.cli.connection import connect
from service.cli.exit_codes import FAILED
from service.cli.model_filter import parse_amount
from service.cli.options import DEFAULT_SERVER, Json, Server
from service.cli.rendering.console import print_error, print_json, print_line, print_note, stderr_console

if TYPE_CHECKING:
    from service.cli.photos.indexing import IndexReport, Progress

DEFAULT_SIZE = "48M"
"""Below the 64 MiB that a message of a server's default settings may have."""
_MOST_LINES = 20
"""Photos that are named one by one in each list of a report; --json names all."""


def _amount(value: str) -> str:
    if not 0 < parse_amount(value) <= 1e9:
        raise typer.BadParameter("expected bytes of at most 1G, for example 48M")
    return value


def index(
    folder: Folder,
    server: Server = DEFAULT_SERVER,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="Classifier of images. Default: the index's, or efficientnet_lite0.")
    ] = "",
    embedding_model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Embeddings for --like. Default: the index's, or mobilenetv2_100; left out if that is not served.",
        ),
    ] = "",
    words_model: Annotated[
        str,
        typer.Option(metavar="NAME", help="A CLIP-like model (zero-shot-image-classification) for free words."),
    ] = "",
    max_size: Annotated[
        str, typer.Option(metavar="BYTES", callback=_amount, help="Leave out files of more bytes.")
    ] = DEFAULT_SIZE,
    index_file: IndexFile = None,
    as_json: Json = False,
) -> None:
    """Index the photos of a folder: new and changed ones are sent to the server, and what is gone leaves the index.

    Ctrl-C keeps what was answered; the next call continues. Exit code 1 if a photo should be asked about again.
    """
    from service.cli.photos.index_model import Purpose
    from service.cli.photos.indexing import update_index
    from service.cli.photos.photo_index import writable_index
    from service.cli.photos.scan import real_folder
    from service.client import ZooClientError

    real = real_folder(Path(folder))
    file = index_path(index_file, real)
    names = {Purpose.LABELS: model, Purpose.LIKENESS: embedding_model, Purpose.WORDS: words_model}
    most_bytes, progress = int(parse_amount(max_size)), _progress(quiet=as_json)
    with connect(server) as client, writable_index(file, real) as opened:
        try:
            report = update_index(client, opened, real, names, most_bytes=most_bytes, progress=progress)
        except (ZooClientError, KeyboardInterrupt):
            print_note("what was answered is kept; the same command continues")
            raise
    if as_json:
        print_json(_document(real, file, report))
    else:
        _print(report, file)
    if report.failed:
        raise typer.Exit(FAILED)


def _progress(quiet: bool) -> Progress:
    """A bar on stderr if a person waits."""

    @contextmanager
    def bar(what: str, total: int) -> Iterator[Callable[[], None]]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = stderr_console()
        if quiet or not console.is_terminal:
            yield lambda: None
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as shown:
            task = shown.add_task(what, total=total)
            yield lambda: shown.advance(task)

    return bar


def _document(folder: Path, file: Path, report: IndexReport) -> dict[str, Any]:
    """The document of `--json`."""
    from dataclasses import asdict

    lists = {
        name: [{"photo": photo, "reason": reason} for photo, reason in photos]
        for name, photos in (
            ("unreadable", report.unreadable),
            ("failed", report.failed),
            ("left_out", report.left_out),
        )
    }
    return {"folder": str(folder), "index": str(file), **asdict(report), **lists}


def _print(report: IndexReport, file: Path) -> None:
    """The report for people."""
    print_line(f"{report.photos:,} photos: {report.new:,} new, {report.changed:,} changed, {report.removed:,} removed")
    for purpose, name in report.models.items():
        count, sent = report.answered.get(purpose, 0), report.sent.get(purpose, 0)
        print_line(f"{purpose}: {count:,} photos by {name}; {sent:,} sent now")
    for note in report.notes:
        print_note(note)
    if report.other_kinds:
        others = ", ".join(f"{count:,} {suffix}" for suffix, count in report.other_kinds.items())
        print_note(f"left out, since a server reads JPEG, PNG and WebP: {others}")
    _print_list("left out", report.left_out, print_note)
    _print_list("cannot be read by the server", report.unreadable, print_note)
    _print_list("not answered, to be asked again", report.failed, print_error)
    print_note(f"index: {file}")


def _print_list(title: str, photos: list[tuple[str, str]], show: Callable[[str], None]) -> None:
    for name, why in photos[:_MOST_LINES]:
        show(f"{title}: {name}: {why}")
    if len(photos) > _MOST_LINES:
        show(f"{title}: {len(photos) - _MOST_LINES:,} more; --json names all")
