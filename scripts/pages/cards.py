"""The fields of a card, from the classes that validate it."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from model_zoo.cards import card, recipes, signature, tuned_parts, weight_source
from model_zoo.cards.part import CardPart
from model_zoo.golden import golden_case

from .source import field_texts, one_line, table

HEAD = """\
<!-- Generated from model_zoo/cards/ by `make docs`; do not edit. A test compares. -->

# Cards

A card has all facts about one model. Those of the package are YAML files in `model_zoo/cards/`; those of pulled
models lie in `ZOO_HOME/cards/NAME.yaml`, where you may edit them: limits of batches, tolerances, the summary. What
decides the weights (`source`, `weights`, `architecture`, `labels`) makes another model if it is changed: its files
are fetched and converted again. Unknown fields, missing ones and numbers that are not finite are refused, and the
error names the field. A version that was fine-tuned has a card of its own (`card.json`).

A field without a default must be there.

"""
BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
MODULES: tuple[tuple[str, ModuleType], ...] = (
    ("The card", card),
    ("Sources of weights", weight_source),
    ("Signature", signature),
    ("Recipes", recipes),
    ("Golden cases", golden_case),
    ("Fine-tuned versions", tuned_parts),
)


def cards_page() -> str:
    """The whole page."""
    return HEAD + "\n".join(_section(title, module) for title, module in MODULES)


def _section(title: str, module: ModuleType) -> str:
    kinds = [kind for kind in vars(module).values() if _is_part(kind, module)]
    if module is card:  # the card itself comes first
        kinds.sort(key=lambda kind: kind is not card.Card)
    return "\n".join([f"## {title}\n", *(_part(kind) for kind in kinds)])


def _is_part(kind: Any, module: ModuleType) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, CardPart)
        and kind.__module__ == module.__name__
        and not kind.__name__.startswith("_")
    )


def _part(kind: type[BaseModel]) -> str:
    bases = [base for base in reversed(kind.__mro__) if issubclass(base, CardPart) and base is not CardPart]
    texts = {name: text for base in bases for name, text in field_texts(base).items()}
    rows = [
        (f"`{name}`", f"`{one_line(texts[name].annotation)}`", _default(field), _meaning(texts[name].text, field))
        for name, field in kind.model_fields.items()
    ]
    heading = f"### {kind.__name__}\n\n{one_line(inspect.getdoc(kind) or '')}\n"
    return "\n".join([heading, table(("field", "type", "default", ""), *rows)])


def _meaning(text: str, field: FieldInfo) -> str:
    """The text of a field, and the bounds of its value."""
    bounds = [
        f"{word} {getattr(found, bound)}"
        for found in field.metadata
        for bound, word in BOUNDS.items()
        if getattr(found, bound, None) is not None
    ]
    return " ".join(
        part for part in (text or one_line(field.description or ""), f"({', '.join(bounds)})" if bounds else "") if part
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return ""
    if isinstance(value, BaseModel):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value if part is not None)
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_plain, value)) + "]"
    return one_line(repr(value) if isinstance(value, str) and not value else str(value))
