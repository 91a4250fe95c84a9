"""``zoo.lock``: the pulled models of a home, so that another home gets exactly the same ones.

A JSON document. Each model has its reference, its name, its source (commit, and the sha256 and size of every file) and the rest
of its card, in which the facts are that a user gave, such as names of classes.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import AdaptedSource, HubSource, LocalSource, UrlSource, WeightSource
from model_zoo.errors import InvalidLock, InvalidReference
from model_zoo.references.reference import HUB_KINDS, HUB_PREFIX, Reference, parse_reference
from model_zoo.sources.url import TORCHVISION_HOST

__all__ = ["LOCK_NAME", "difference", "read_lock", "text_of_lock"]

LOCK_NAME = "zoo.lock"
_FORMAT = 1
_PINS = ("reference", "name", "source")
"""Fields of a card that stand first in an entry, for readers."""
_MOST_BYTES = 64 << 20
_DIGITS = re.compile(r"-([0-9a-f]{8,64})\.pth$")
"""The beginning of the sha256 of a file of torchvision, in its name."""


def text_of_lock(cards: Iterable[Card]) -> str:
    """The document of pulled models, in order of name. Equal cards give equal text."""
    models = [_entry(card) for card in sorted(cards, key=lambda card: card.name)]
    return strict_json.text({"format": _FORMAT, "models": models}, indent=1, ascii_only=False) + "\n"


def read_lock(path: Path) -> list[Card]:
    """The cards of a lock file.

    Raises:
        InvalidLock: it cannot be read, is of another form, or holds a model twice; the model and the field are named.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidLock(path.name, f"it cannot be read ({(error.strerror or 'unknown reason').lower()})") from error
    if len(data) > _MOST_BYTES:
        raise InvalidLock(path.name, f"it has more than {_MOST_BYTES:,} bytes")
    document = strict_json.parsed_object(data)
    if document is None or not isinstance(document.get("models"), list):
        raise InvalidLock(path.name, "it is no document that `zoo lock` wrote")
    if document.get("format") != _FORMAT:
        raise InvalidLock(
            path.name, f"it has the format {str(document.get('format'))[:20]}; this Zoo reads format {_FORMAT}"
        )
    cards = [_card(entry, path.name, number) for number, entry in enumerate(document["models"])]
    names = [card.name for card in cards]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidLock(path.name, f"it has the model {twice} twice")
    return cards


def difference(card: Card, locked: Card) -> str:
    """The first thing in which a model differs from what is locked, with both values; empty if they are equal."""
    ours, theirs = card.source.model_dump(mode="json"), locked.source.model_dump(mode="json")
    for field in ("kind", "repository", "commit", "folder", "url", "base", "adapter"):
        if ours.get(field) != theirs.get(field):
            return f"its {field} is {ours.get(field, 'none')}, and locked is {theirs.get(field, 'none')}"
    digests, wanted = (
        {file["path"]: file["sha256"] for file in source.get("files", {}).values()} for source in (ours, theirs)
    )
    for path in sorted({*digests, *wanted}):
        if digests.get(path) != wanted.get(path):
            return f"{path} has sha256 {digests.get(path, 'none')}, and locked is {wanted.get(path, 'none')}"
    fields = [name for name in Card.model_fields if getattr(card, name) != getattr(locked, name)]
    return f"its card has another {fields[0]}" if fields else ""


def _entry(card: Card) -> dict[str, Any]:
    document = card.model_dump(mode="json", exclude_defaults=True)
    return {
        **{field: document[field] for field in _PINS},
        "card": {field: value for field, value in document.items() if field not in _PINS},
    }


def _card(entry: Any, origin: str, number: int) -> Card:
    if not isinstance(entry, dict) or {*entry} != {*_PINS, "card"} or not isinstance(entry["card"], dict):
        raise InvalidLock(origin, f"models[{number}] is no entry of a lock file")
    known = entry["name"] if isinstance(entry["name"], str) else f"models[{number}]"
    try:
        card = Card.model_validate({**entry["card"], **{field: entry[field] for field in _PINS}})
    except ValidationError as error:
        fault = error.errors()[0]
        raise InvalidLock(
            origin, f"{known[:80]}: {'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}"
        ) from error
    if card.source.kind not in ("hub", "local", "adapted", "url") or not card.reference:
        raise InvalidLock(origin, f"{card.name} was not pulled by a reference")
    try:
        reference = parse_reference(card.reference)
    except InvalidReference as error:
        raise InvalidLock(origin, f"{card.name}: {error.reason}") from error
    if not _is_of(card.source, reference):
        raise InvalidLock(origin, f"{card.name}: its reference names another repository than its source")
    return card


def _is_of(source: WeightSource, reference: Reference) -> bool:
    """Whether a source is what a pull of the reference would give: a reader of a lock file trusts the reference that it shows."""
    match source:
        case HubSource():
            return reference.is_on_hub and _repository_of(reference) == source.repository
        case LocalSource():
            wanted = Path(source.folder) / source.files["weights"].path if reference.kind == "onnx" else source.folder
            return reference.kind in ("local", "onnx") and reference.place == str(wanted)
        case AdaptedSource(adapter=place) if reference.kind in HUB_KINDS:
            return bool(source.base.repository) and place.repository == _repository_of(reference)
        case AdaptedSource(adapter=place):
            return reference.kind == "local" and place.folder == reference.place
        case UrlSource() if reference.kind == "torchvision":
            digits = _DIGITS.search(source.url) if source.url.startswith(TORCHVISION_HOST) else None
            return digits is not None and source.files["weights"].sha256.startswith(digits[1])
        case UrlSource():
            return (reference.place, reference.sha256) == (source.url, source.files["weights"].sha256)
    return False


def _repository_of(reference: Reference) -> str:
    return reference.repository.removeprefix(HUB_PREFIX)
