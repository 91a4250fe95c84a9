"""`zoo pull`: fetches weights without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.rendering.console import escaped, print_error, print_line, stderr_console
from service.cli.rendering.formatting import format_size

if TYPE_CHECKING:
    from model_zoo.cards.card import Card
    from model_zoo.materialised import Materialised
    from model_zoo.store import Store


def pull(
    model: Annotated[list[str] | None, typer.Argument(metavar="MODEL", help="Names of models.")] = None,
    default: Annotated[bool, typer.Option("--default", help="Fetch the models of the default set.")] = False,
) -> None:
    """Fetch, check and convert weights, so that a server can start without a network."""
    from model_zoo.catalog import Catalog
    from model_zoo.errors import ZooModelError
    from model_zoo.store import Store
    from service.settings import load_settings

    catalog, settings = Catalog.readable(), load_settings()
    names = list(dict.fromkeys((model or []) + (catalog.default_names() if default else [])))
    if not names:
        raise typer.BadParameter("name one or more models, or give --default", param_hint="MODEL")
    cards = [catalog.get(name) for name in names]  # a misspelt name is an error before anything is fetched
    store, failed = Store(settings.home), False
    for card in cards:
        found = store.find(card)
        if found is None and settings.offline:
            print_error(f"{card.name} is not on this machine, and ZOO_OFFLINE forbids a fetch")
            failed = True
            continue
        try:
            files = found or _fetch(store, card)
        except ZooModelError as error:
            print_error(str(error))
            failed = True
            continue
        size = format_size(files.weights.stat().st_size)
        print_line(f"{card.name}: {'already here' if found else 'fetched'}, {size} in {files.folder}")
        print_line(f"  licence of the weights: {card.licence.weights}")
    if failed:
        raise typer.Exit(1)


def _fetch(store: Store, card: Card) -> Materialised:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = stderr_console()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(card.name, total=None)

        def progress(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total or None, description=escaped(what))

        return store.materialise(card, progress)
