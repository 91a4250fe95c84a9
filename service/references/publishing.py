"""What every pull begins and ends with: a name that is free, files pinned by their digests, and a card under ZOO_HOME."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import SourceFile
from model_zoo.catalog import CARDS, Catalog, parse_card
from model_zoo.errors import InvalidCard, InvalidName, NotDerivable
from model_zoo.materialised import Materialised
from model_zoo.references.reference import Reference, shown_reference
from model_zoo.versions import Versions

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pulled:
    """A model that is ready to be served."""

    card: Card
    files: Materialised
    already: bool
    """Whether it was on this machine before."""


def model_name(reference: Reference, name: str) -> str:
    """The name of the model: the given one, else that of the repository. Raises InvalidName for one that is none."""
    found = name or reference.model_name
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,62}", found):
        raise InvalidName(found, "" if name else f"give one by --name for {reference.shown}")
    return found


def known_card(reference: Reference, home: Path, name: str) -> Card | None:
    """The card of an earlier pull of this reference. Raises NotDerivable where another model has the name."""
    if name in Versions(home).listing():
        raise NotDerivable(reference.shown, f"there is a fine-tuned model {name} already", "another name by --name")
    catalog = Catalog.of_home(home)
    if name in catalog.damaged:
        reason = f"the card of {name} in ZOO_HOME is damaged ({catalog.damaged[name]}); mend or remove it"
        raise NotDerivable(reference.shown, reason)
    if name not in catalog:
        if (home / CARDS / f"{name}.yaml").exists():
            raise NotDerivable(
                reference.shown, f"the card {name}.yaml in ZOO_HOME has another name inside; mend or remove it"
            )
        return None
    card = catalog.get(name)
    if not reference.is_same_as(card.reference):
        of = f", pulled from {shown_reference(card.reference)}" if card.reference else ""
        raise NotDerivable(reference.shown, f"there is a model {name} already{of}", "another name by --name")
    return card


def pinned(folder: Path, path: str) -> SourceFile:
    """A file of a folder with its digest."""
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return SourceFile(path=path, sha256=digest, bytes=file.tell())


def publish_card(card: Card, home: Path) -> None:
    """Writes the card under its name, whole or not at all. Raises NotDerivable for one that would be read as another."""
    text = _written(card)
    folder = home / CARDS
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f".{card.name}-{uuid.uuid4().hex}"
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(folder / f"{card.name}.yaml")


def _written(card: Card) -> str:
    """The YAML of a card, which reads as the same card.

    YAML folds some line breaks, such as U+0085, into a space where they are written as they are. Such a card is written in ASCII,
    with escapes.
    """
    document = card.model_dump(mode="json", exclude_defaults=True)
    finite = strict_json.read(strict_json.text(document))
    for as_it_is in (True, False):
        text = yaml.dump(finite, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=as_it_is, width=120)
        with suppress(InvalidCard):
            if parse_card(text, card.name).model_dump(mode="json", exclude_defaults=True) == finite:
                return text
    raise NotDerivable(card.name, "its files hold text or numbers that no card can hold")
