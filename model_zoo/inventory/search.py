"""Models by words: the cards of a home and the networks of the hub catalog. No server and no hub is asked."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_zoo.cards.card import Card, Verification
from model_zoo.cards.weight_source import InitialSource
from model_zoo.catalog import Catalog
from model_zoo.inventory.hub_catalog import HubEntry
from model_zoo.references.reference import parse_reference
from model_zoo.store import Store

__all__ = ["Found", "search"]

ANYWHERE = 4
"""Letters from which on a word is found inside another one, as ``lite`` in ``efficientnet_lite0``."""


@dataclass(frozen=True)
class Found:
    """A model of the zoo, or a network that could become one.

    Attributes:
        name: of a model of the zoo; empty for an entry of the hub catalog.
        reference: by which it was or can be pulled; empty for a model that ships with Zoo.
        downloaded: whether its weights are on this machine.
        pullable: whether this Zoo has the task. False as well for a base that is trained from the start and has no weights.
        verification: the comparison with the makers' library; None where none was made.
    """

    name: str
    reference: str
    task: str
    summary: str
    downloaded: bool
    pullable: bool
    verification: Verification | None

    @property
    def command(self) -> str:
        """The command that gets it; empty where there is nothing to get."""
        return f"zoo pull {self.name or self.reference}" if self.pullable and not self.downloaded else ""


def search(
    words: Sequence[str], catalog: Catalog, store: Store, entries: Iterable[HubEntry], tasks: Iterable[str]
) -> list[Found]:
    """What has all of the words in its name, reference, task, family or summary, in any case; all for no words.

    Models of the zoo come first, in order of name; an entry that was pulled is left out. ``tasks``: those of networks that can be
    pulled by reference.
    """
    known = set(tasks)
    found = [_of_card(card, store) for card in catalog if _matches(words, _text_of(card))]
    pulled = [parse_reference(card.reference) for card in catalog if card.reference]
    for entry in entries:
        if _matches(words, f"{entry.reference} {entry.task} {entry.summary}"):
            if any(reference.is_same_as(entry.reference) for reference in pulled):
                continue
            found.append(Found("", entry.reference, entry.task, entry.summary, False, entry.task in known, None))
    return found


def _of_card(card: Card, store: Store) -> Found:
    here = store.find(card) is not None
    has_weights = not isinstance(card.source, InitialSource)
    return Found(card.name, card.reference, card.task, card.summary, here, has_weights, card.verification)


def _text_of(card: Card) -> str:
    return f"{card.name} {card.reference} {card.task} {card.family} {card.summary}"


def _matches(words: Sequence[str], text: str) -> bool:
    """Separators do not count: ``MiniLM-L6`` finds ``minilm_l6``. A short word must begin one of the text: ``vit`` is not in
    ``activity``."""
    parts = re.findall("[a-z0-9]+", text.lower())
    inside = "".join(parts)
    starts = {sum(map(len, parts[:n])) for n in range(len(parts))}
    for word in map(_compact, words):
        places = [match.start() for match in re.finditer(f"(?={re.escape(word)})", inside)]
        if not any(len(word) >= ANYWHERE or place in starts for place in places):
            return False
    return True


def _compact(word: str) -> str:
    return "".join(re.findall("[a-z0-9]+", word.lower()))
