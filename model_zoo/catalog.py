"""The catalog: the models that *can* be served, by name.

The cards are YAML files in the folder ``cards/`` beside this module, installed or not.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import CardSource, InitialSource
from model_zoo.errors import InvalidCard, UnknownCard
from model_zoo.similar_names import similar_names

__all__ = ["CARDS", "Catalog", "card_files", "parse_card"]

CARDS = "cards"
"""Folder of the cards, in the package and below ``ZOO_HOME``."""

_PACKAGE = Path(__file__).with_name(CARDS)
_FAST_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""For the package's own cards: libyaml's parser takes an eighth of the time. Documents of others are read by the one in Python,
whose depth of nesting is bounded."""


def parse_card(text: str, origin: str) -> Card:
    """Read one YAML card.

    Args:
        text: the YAML document.
        origin: the name of the card in errors, such as its file name; the card's own name may be invalid.

    Raises:
        InvalidCard: not YAML, not a mapping, or a field is missing, unknown or wrong; each such field is named.
    """
    return _parse(text, origin, yaml.SafeLoader)


def _parse(text: str, origin: str, loader: type[Any]) -> Card:
    try:
        document = yaml.load(text, loader)  # noqa: S506 - one of the two safe loaders
    except RecursionError as error:
        raise InvalidCard(origin, "it is nested too deeply") from error
    except Exception as error:  # constructors of YAML's types raise errors of many kinds
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise InvalidCard(origin, f"it is not YAML{where}") from error
    if not isinstance(document, dict):
        raise InvalidCard(origin, "it is not a mapping of fields")
    try:
        return Card.model_validate(document)
    except ValidationError as error:
        faults = [
            (_path_of(fault["loc"], document) or _named_field(fault["msg"]), fault["msg"]) for fault in error.errors()
        ]
        reason = "; ".join(f"{field}: {message}" if field else message for field, message in faults)
        raise InvalidCard(origin, reason, [field for field, _ in faults if field]) from error


def _path_of(location: Sequence[int | str], document: Any) -> str:
    """Dotted path of a field. For a part of several kinds, pydantic inserts the kind between the part and its fields."""
    path: list[str] = []
    here = document
    for step in location:
        if isinstance(here, dict) and step == here.get("kind") and step not in here:
            continue
        path.append(str(step))
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            here = None
    return ".".join(path)


def _named_field(message: str) -> str:
    """The field with which an error of the whole card begins; empty if it begins with another word."""
    word = message.removeprefix("Value error, ").split()[0]
    return word if word.partition(".")[0] in Card.model_fields else ""


class Catalog:
    """An immutable set of cards, iterated in the order of their names."""

    def __init__(self, cards: Iterable[Card], damaged: Mapping[str, str] | None = None) -> None:
        """A catalog of these cards. ``damaged``: names of unreadable cards → reasons.

        Raises:
            InvalidCard: two cards share a name.
        """
        by_name: dict[str, Card] = {}
        for card in cards:
            if card.name in by_name:
                raise InvalidCard(card.name, "another card has the same name", ["name"])
            by_name[card.name] = card
        self._cards = dict(sorted(by_name.items()))
        self.damaged: Mapping[str, str] = dict(damaged or {})
        """Unreadable cards: name of the file → reason; see ``readable``."""

    @classmethod
    @cache
    def from_package(cls) -> "Catalog":
        """The catalog that ships with the package. Its cards are read once in a process.

        Raises:
            InvalidCard: a card does not validate, or two share a name.
        """
        cards = []
        for card in _package_cards(_PACKAGE).values():
            if isinstance(card, InvalidCard):
                raise card
            cards.append(card)
        return cls(cards)

    @classmethod
    def from_folder(cls, folder: Path) -> "Catalog":
        """A catalog of every ``*.yaml`` directly in a folder.

        Raises:
            InvalidCard: a card does not validate, or two share a name.
        """
        return cls(_card_at(path) for path in sorted(folder.glob("*.yaml")))

    @classmethod
    def readable(cls, *folders: Path) -> "Catalog":
        """As ``from_folder``, of several folders, by default of the package's cards alone; unreadable cards go to ``damaged`` and
        do not raise. Of two cards with one name the first counts."""
        cards: dict[str, Card] = {}
        damaged: dict[str, str] = {}
        for folder in folders or (_PACKAGE,):
            for stem, card in (_package_cards if folder == _PACKAGE else _cards_below)(folder).items():
                if isinstance(card, InvalidCard):
                    damaged[stem] = card.reason
                elif card.name in cards:
                    damaged[stem] = f"it has the name of another card, {card.name!r}"
                else:
                    cards[card.name] = card
        return cls(cards.values(), {name: reason for name, reason in damaged.items() if name not in cards})

    @classmethod
    def of_home(cls, home: Path) -> "Catalog":
        """The package's cards, and those of networks that were pulled into a home; as ``readable``."""
        return cls.readable(_PACKAGE, home / CARDS)

    def names(self) -> list[str]:
        """Names of all cards, sorted."""
        return list(self._cards)

    def default_names(self) -> list[str]:
        """Names of the cards that are served by default, sorted."""
        return [card.name for card in self if card.default]

    def pretrained_names(self) -> list[str]:
        """Names of the cards with a file of weights, sorted. The others are bases for fine-tuning, which are not served
        themselves, and networks whose numbers are on their cards."""
        return [card.name for card in self if not isinstance(card.source, InitialSource | CardSource)]

    def get(self, name: str) -> Card:
        """The card of that name.

        Raises:
            UnknownCard: there is none; ``near`` holds similar names.
            InvalidCard: the card cannot be read.
        """
        try:
            return self._cards[name]
        except KeyError:
            if name in self.damaged:
                raise InvalidCard(name, self.damaged[name]) from None
            raise UnknownCard(name, similar_names(name, self._cards)) from None

    def __iter__(self) -> Iterator[Card]:
        return iter(self._cards.values())

    def __len__(self) -> int:
        return len(self._cards)

    def __contains__(self, name: object) -> bool:
        return name in self._cards


def card_files(folder: Path) -> list[Path]:
    """The cards of a folder, in order of name; none if the folder cannot be listed, which whoever needs it reports."""
    try:
        return sorted(folder.glob("[!.]*.yaml"))
    except OSError:
        return []


def _cards_below(folder: Path) -> dict[str, Card | InvalidCard]:
    """The cards of a folder, or why one cannot be read, by the stem of the file."""
    found: dict[str, Card | InvalidCard] = {}
    for path in card_files(folder):
        try:
            found[path.stem] = _card_at(path)
        except InvalidCard as error:
            found[path.stem] = error
    return found


@cache
def _package_cards(folder: Path) -> dict[str, Card | InvalidCard]:
    """As `_cards_below`, of the package's folder: read once in a process."""
    return _cards_below(folder)


def _card_at(path: Path) -> Card:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidCard(path.name, "it is not UTF-8") from error
    except OSError as error:
        raise InvalidCard(path.name, "its file cannot be read") from error
    return _parse(text, path.name, _FAST_LOADER if path.parent == _PACKAGE else yaml.SafeLoader)
