"""The base models that jobs fine-tune: their cards, and their weights on this machine."""

from __future__ import annotations

import asyncio

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import WITHOUT_NETWORK, InitialSource
from model_zoo.errors import InvalidCard, UnknownCard, ZooModelError
from model_zoo.live_catalog import LiveCatalog
from model_zoo.store import Store
from service.errors import Damaged, NotFound, NotReady
from service.observability.log import logger

log = logger(__name__)


class BaseCatalog:
    """The catalog of the zoo as jobs see it. Used on the event loop."""

    def __init__(self, catalog: LiveCatalog, store: Store, offline: bool = False) -> None:
        """`store` holds the weights; an `offline` server fetches none."""
        self._catalog, self._store, self._offline = catalog, store, offline

    def card(self, name: str) -> Card:
        """The card of a base. Raises NotFound with similar names, Damaged where the card cannot be read."""
        try:
            return self._catalog.get(name)
        except UnknownCard as error:
            raise NotFound(
                "base model", name[:64], error.near, known=f"the zoo has {', '.join(self._catalog.names())}"
            ) from None
        except InvalidCard as error:
            raise Damaged(
                f"base model {name!r}",
                error.reason,
                "mend or remove its card if it lies in ZOO_HOME/cards, else install Zoo again",
            ) from None

    def is_reserved(self, model: str) -> bool:
        """Whether a name belongs to a model of the zoo; a job cannot publish a version under it."""
        return model in self._catalog

    async def fetch_weights(self, name: str) -> None:
        """Puts the weights of a base on this machine unless they are there. Raises NotReady with a reason for the user."""
        card = self._catalog.get(name)
        if isinstance(card.source, InitialSource) or self._store.find(card) is not None:
            return
        if self._offline and not isinstance(card.source, WITHOUT_NETWORK):
            raise NotReady(
                f"the weights of {name} are not on this machine and the server is offline; run `zoo pull {name}`"
            )
        try:
            await asyncio.to_thread(self._store.materialise, card)
        except ZooModelError as error:
            log.error("weights could not be fetched", model=name, reason=str(error))
            raise NotReady(f"the weights of {name} could not be fetched; the server's log says why") from error
