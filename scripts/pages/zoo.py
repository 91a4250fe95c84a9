"""The catalog by task: cards of the package, and published networks by reference."""

from __future__ import annotations

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import InitialSource
from model_zoo.catalog import Catalog
from model_zoo.inventory.hub_catalog import HubEntry, hub_catalog
from model_zoo.references.card_plan import TASKS
from service.cli.rendering.formatting import format_count

from .examples import examples
from .source import one_line, table

HEAD = """\
<!-- Generated from the cards and model_zoo/inventory/hub_catalog.yaml by `make docs`; do not edit. A test compares. -->

# The zoo

By task: the models that ship with Zoo, and published networks that people ask for first. `zoo pull NAME` or `zoo pull
REFERENCE` gets one, `zoo search WORDS` finds one, `zoo show NAME` has its card and calls to copy.
[tasks.md](tasks.md) says what each task takes and answers.

**References are names only** (`verification: none`): nobody pulled them for this list. The first pull reads task,
licence and preprocessing from the repository, pins its commit and digests, and compares the answers with those of the
makers' library; it refuses what it cannot do by name ([references.md](references.md)). Any other repository of a
known layout can be pulled in the same way.

Below the models of a task are golden cases from their cards, which `zoo verify` runs: what a model is given, and what
it answers.

Models with a figure after "Held out" were trained by Zoo; `zoo train NAME` makes them again ([trained.md](trained.md)).

"""
NOT_YET = "Zoo does not have this task for networks by reference yet.\n"
ON_YOUR_DATA = "no weights: tuned on your data"


def zoo_page() -> str:
    """The whole page."""
    cards, entries = list(Catalog.from_package()), hub_catalog()
    tasks = sorted({card.task for card in cards} | {entry.task for entry in entries})
    return HEAD + "\n".join(_section(task, cards, entries) for task in tasks)


def _section(task: str, cards: list[Card], entries: tuple[HubEntry, ...]) -> str:
    models = [_model(card) for card in cards if card.task == task]
    references = [(f"`{entry.reference}`", one_line(entry.summary)) for entry in entries if entry.task == task]
    parts = [f"## {task}\n"]
    if models:
        parts.append(table(("model", "family", "parameters", "licence of the weights", ""), *models))
    if shown := [example for card in cards if card.task == task for example in examples(card)]:
        parts.append(table(("model", "given", "answers"), *shown))
    if references:
        parts.append(table(("reference", ""), *references))
        if task not in TASKS:
            parts.append(NOT_YET)
    return "\n".join(parts)


def _model(card: Card) -> tuple[str, ...]:
    has_weights = not isinstance(card.source, InitialSource)
    licence = one_line(card.licence.weights) if has_weights else ON_YOUR_DATA
    held_out = "".join(f" Held out: {figure.in_words}." for figure in card.figures)
    return f"`{card.name}`", card.family, format_count(card.parameters), licence, one_line(card.summary + held_out)
