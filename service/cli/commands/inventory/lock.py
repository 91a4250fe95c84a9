"""`zoo lock` writes which models were pulled here; `zoo pull --locked` gets the same ones elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.cli.rendering.console import print_error, print_line, print_note


def lock(
    model: Annotated[
        list[str] | None, typer.Argument(metavar="MODEL", help="Names of models that were pulled. Default: all.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write. Default: zoo.lock.")] = Path(
        "zoo.lock"
    ),
) -> None:
    """Write which models were pulled by reference, with their commits, digests and cards.

    `zoo pull --locked` makes the same models of another machine.
    """
    import uuid

    from model_zoo.catalog import CARDS, Catalog
    from model_zoo.errors import InvalidCard
    from model_zoo.inventory.lock_file import text_of_lock
    from service.settings import load_settings

    catalog = Catalog.of_home(load_settings().home)
    if not model and catalog.damaged:
        name, reason = next(iter(catalog.damaged.items()))
        raise InvalidCard(name, f"{reason}; mend or remove it in the folder {CARDS} of ZOO_HOME, or name the models")
    chosen = [catalog.get(name) for name in dict.fromkeys(model or [])] or [card for card in catalog if card.reference]
    if unpulled := next((card.name for card in chosen if not card.reference), None):
        print_error(f"{unpulled} ships with Zoo, which pins it; `zoo pull {unpulled}` fetches it anywhere")
        raise typer.Exit(1)
    if not chosen:
        print_error("no model of this home was pulled by a reference, so there is nothing to lock")
        raise typer.Exit(1)
    staged = out.with_name(f".{out.name}-{uuid.uuid4().hex}")
    try:
        staged.write_text(text_of_lock(chosen), encoding="utf-8")
        staged.replace(out)
    finally:
        staged.unlink(missing_ok=True)
    for card in chosen:
        commit = getattr(card.source, "commit", "")
        print_line(f"{card.name}: {card.reference}" + (f" at {commit[:12]}" if commit else ""))
    count = len(chosen)
    if not model:
        print_note("models that ship with Zoo are pinned by Zoo and need no lock: zoo pull NAME gets them anywhere")
    print_line(f"{out} locks {count} {'model' if count == 1 else 'models'}; elsewhere: zoo pull --locked {out.name}")
