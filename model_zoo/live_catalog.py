"""The catalog of a running process: cards that ``zoo pull`` adds to a home meanwhile can be found by looking again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from model_zoo.cards.card import Card
from model_zoo.catalog import CARDS, Catalog, card_files

__all__ = ["LiveCatalog"]

Signature = tuple[tuple[str, int, int], ...]


class LiveCatalog:
    """A catalog that grows. A card that was known stays as it was: an edit of its file takes effect in the next process.

    ``look`` may be called by any thread, one at a time; all else belongs to the thread that calls ``add``.
    """

    def __init__(self, catalog: Catalog, home: Path | None = None, seen: Signature | None = None) -> None:
        """Begins with the cards of ``catalog``; ``home`` is where new ones appear, None for a catalog that does not grow. Use
        ``of_home`` for the former."""
        self._catalog = catalog
        self._home = home
        self._cards = {card.name: card for card in catalog}
        self._damaged = dict(catalog.damaged)
        self._seen = seen
        self.cards: Mapping[str, Card] = MappingProxyType(self._cards)
        """All cards by name, now and later."""
        self.damaged: Mapping[str, str] = MappingProxyType(self._damaged)
        """Names of unreadable cards → reasons, now and later."""

    @classmethod
    def of_home(cls, home: Path) -> "LiveCatalog":
        """The package's cards, and those of networks that were pulled into a home, now and later. Reads files."""
        seen = _signature(home)  # first: a card that is written meanwhile is found by the next look
        return cls(Catalog.of_home(home), home, seen)

    @property
    def current(self) -> Catalog:
        """All cards as they are known now."""
        return self._catalog

    def names(self) -> list[str]:
        """Names of all cards, sorted."""
        return self._catalog.names()

    def get(self, name: str) -> Card:
        """See ``Catalog.get``. Raises UnknownCard, InvalidCard."""
        return self._catalog.get(name)

    def __iter__(self) -> Iterator[Card]:
        return iter(self._catalog)

    def __contains__(self, name: object) -> bool:
        return name in self._catalog

    def look(self) -> Catalog | None:
        """The cards of the home, if a file of theirs has changed since the last look; None if none has. Reads files, and changes
        nothing that others read: see ``add``."""
        if self._home is None:
            return None
        seen = _signature(self._home)
        if seen == self._seen:
            return None
        self._seen = seen
        return Catalog.of_home(self._home)

    def add(self, found: Catalog) -> list[Card]:
        """Takes up what ``look`` found. Returns the cards that are new, in order of name."""
        new = [card for card in found if card.name not in self._cards]
        self._cards |= {card.name: card for card in new}
        damaged = {name: reason for name, reason in found.damaged.items() if name not in self._cards}
        self._damaged.clear()
        self._damaged.update(damaged)
        self._catalog = Catalog(self._cards.values(), damaged)
        return new


def _signature(home: Path) -> Signature:
    """Name, time of change and size of every card of a home."""
    found = []
    for path in card_files(home / CARDS):
        try:
            status = path.stat()
        except OSError:  # it was removed meanwhile
            continue
        found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(found)
