"""`zoo pull`: fetches weights without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.rendering.console import escaped, print_error, print_line, stderr_console
from service.cli.rendering.formatting import format_size

if TYPE_CHECKING:
    from model_zoo.cards.card import Card
    from model_zoo.catalog import Catalog
    from model_zoo.materialised import Materialised
    from model_zoo.references.card_plan import Given
    from model_zoo.sources.artifact_source import Progress
    from service.settings import Settings


SETTINGS = (
    "max_tokens",
    "max_length",
    "max_batch_size",
    "size",
    "resize_shorter",
    "interpolation",
    "mean",
    "std",
    "file",
)
"""Keys of `--set`."""


def pull(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Names of models, or references: hf:ORG/NAME, hf:ORG/NAME@REVISION, local:FOLDER, onnx:FILE, onnx:hf:ORG/NAME.",
        ),
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Fetch the models of the default set.")] = False,
    name: Annotated[
        str, typer.Option("--name", help="Name of the model of a reference. Default: its repository's.")
    ] = "",
    task: Annotated[str, typer.Option("--task", help="Task of a reference, as a check.")] = "",
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="FILE", help="Names of the classes of a reference, a line each."),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="What a reference does not say: max_tokens; of ONNX: max_length, max_batch_size, and for images size, "
            "resize_shorter, interpolation, mean, std. May be repeated.",
        ),
    ] = None,
) -> None:
    """Fetch, check and convert weights, so that a server can start without a network.

    A reference names a network as its makers do. Its card is derived from its files, and its answers are compared with those of
    its makers' library; `zoo serve --model NAME` then serves it.
    """
    from model_zoo.catalog import Catalog
    from model_zoo.errors import ZooModelError
    from model_zoo.references.reference import is_reference
    from service.settings import load_settings

    settings = load_settings()
    catalog = Catalog.of_home(settings.home)
    wanted = list(dict.fromkeys((model or []) + (catalog.default_names() if default else [])))
    if not wanted:
        raise typer.BadParameter("name one or more models, or give --default", param_hint="MODEL")
    references = [text for text in wanted if is_reference(text)]
    given = _given(task, labels, assignments or [])
    if (name or given is not None) and len(references) != 1:
        raise typer.BadParameter("--name, --task, --labels and --set are for one reference", param_hint="MODEL")
    for text in wanted:  # a misspelt name is an error before anything is fetched
        if text not in references:
            catalog.get(text)
    failed = False
    for text in wanted:
        try:
            if text in references:
                pull_one(text, settings, name, given)
            else:
                failed |= not _pull_card(catalog, text, settings)
        except ZooModelError as error:
            print_error(str(error))
            failed = True
    if failed:
        raise typer.Exit(1)


def pull_one(text: str, settings: Settings, name: str = "", given: Given | None = None) -> str:
    """Pulls a reference, says what it is, and gives its name as a model. Raises ZooModelError."""
    from model_zoo.references.card_plan import Given
    from model_zoo.references.reference import parse_reference
    from service.references.pull import pull_reference

    reference = parse_reference(text)
    with _progress(text) as progress:
        pulled = pull_reference(
            reference,
            settings.home,
            name=name,
            given=given or Given(),
            offline=settings.offline,
            progress=progress,
            say=print_line,
        )
    _describe(pulled.card, pulled.files, pulled.already)
    return pulled.card.name


def _pull_card(catalog: Catalog, name: str, settings: Settings) -> bool:
    from model_zoo.store import Store

    card, store = catalog.get(name), Store(settings.home)
    found = store.find(card)
    if found is None and settings.offline:
        print_error(f"{card.name} is not on this machine, and ZOO_OFFLINE forbids a fetch")
        return False
    if found is None:
        with _progress(card.name) as progress:
            files = store.materialise(card, progress)
    else:
        files = found
    size = format_size(files.weights.stat().st_size)
    print_line(f"{card.name}: {'already here' if found else 'fetched'}, {size} in {files.folder}")
    print_line(f"  licence of the weights: {card.licence.weights}")
    return True


def _describe(card: Card, files: Materialised, already: bool) -> None:
    size = format_size(files.weights.stat().st_size)
    print_line(f"{card.name}: {'already here' if already else 'pulled'}, {size} in {files.folder}")
    classes = f", {len(card.class_names):,} classes" if card.class_names else ""
    print_line(
        f"  {card.task}{classes}, {card.parameters:,} parameters, {card.family}; input: {card.raw_input or 'tensors'}"
    )
    if card.batching.single_rows_because:
        print_line(f"  a batch has one row: {card.batching.single_rows_because}")
    print_line(f"  licence: {card.licence.weights}; pulled from {card.reference}")
    if (seen := card.verification) is not None:
        print_line(
            f"  equals {seen.library} on {seen.inputs} inputs: differs by {seen.max_difference:.2g}, allowed {seen.bound:g}"
        )
    print_line(f"  serve it: zoo serve --model {card.name}")


def _given(task: str, labels: Path | None, assignments: list[str]) -> Given | None:
    """The facts that the options state; None for none."""
    if not (task or labels or assignments):
        return None
    from model_zoo.references.card_plan import Given

    settings = {}
    for assignment in assignments:
        key, sign, value = assignment.partition("=")
        if key not in SETTINGS or not sign:
            known = ", ".join(SETTINGS)
            raise typer.BadParameter(
                f"expected KEY=VALUE with one of {known}; got {assignment[:80]!r}", param_hint="--set"
            )
        settings[key] = value
    names: tuple[str, ...] = ()
    if labels is not None:
        try:
            names = tuple(labels.read_text("utf-8").splitlines())
        except (OSError, UnicodeDecodeError) as error:
            raise typer.BadParameter("the file cannot be read as UTF-8 text", param_hint="--labels") from error
    return Given(task, names, settings)


@contextmanager
def _progress(label: str) -> Iterator[Progress]:
    """A bar on a terminal; nothing elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = stderr_console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(label, total=None)

        def progress(done: int, total: int, what: str) -> None:
            bars.update(task, completed=done, total=total or None, description=escaped(what))

        yield progress
