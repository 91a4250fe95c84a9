"""`zoo search`: models by words, in the zoo and in the list of published networks that ships with it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.options import Json
from service.cli.rendering.console import escaped, new_table, print_json, print_note, print_table

if TYPE_CHECKING:
    from model_zoo.inventory.search import Found


def search(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORDS", help="Parts of names, tasks or summaries; all must occur. Default: everything."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Find models of the zoo, and published networks that can be pulled. No hub is asked."""
    from model_zoo.catalog import Catalog
    from model_zoo.inventory import search as finder
    from model_zoo.inventory.hub_catalog import hub_catalog
    from model_zoo.references.card_plan import TASKS
    from model_zoo.store import Store
    from service.settings import load_settings

    home = load_settings().home
    wanted = words or []
    found = finder.search(wanted, Catalog.of_home(home), Store(home), hub_catalog(), TASKS)
    if as_json:
        print_json({"words": wanted, "tasks": list(TASKS), "models": [_document(one) for one in found]})
        return
    if not found:
        print_note("nothing has these words; `zoo search` without words lists all")
        return
    rows = new_table("name or reference", "task", "summary", "to get it")
    for one in found:
        rows.add_row(*map(escaped, (one.name or one.reference, one.task, one.summary, _way(one))))
    print_table(rows)
    if any(not one.name for one in found):
        print_note("networks by reference were not pulled by us; the first pull verifies them and pins their files")


def _way(one: Found) -> str:
    if one.downloaded:
        return "on this machine"
    if one.command:
        return one.command
    return "a base: zoo finetune" if one.name else "Zoo does not have this task"


def _document(one: Found) -> dict[str, Any]:
    verification = one.verification.model_dump() if one.verification else "none"
    return {**asdict(one), "verification": verification, "command": one.command}
