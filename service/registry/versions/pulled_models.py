"""Networks that were pulled into the home since the server started enter the model table."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.live_catalog import LiveCatalog
from service.observability.log import logger
from service.registry.loading.background import in_daemon
from service.registry.model_table import ModelTable, catalog_records
from service.settings import ModelOptions

log = logger(__name__)


class PulledModels:
    """Adds models whose cards appear below the home. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        catalog: LiveCatalog | None,
        defaults: Callable[[Card], ModelOptions],
        given: Mapping[str, ModelOptions],
        *,
        on_demand: bool,
    ) -> None:
        """`catalog` is None for a server whose models are fixed. For the others see `build_registry`."""
        self._table = table
        self._catalog = catalog
        self._defaults = defaults
        self._given = given
        self._on_demand = on_demand

    async def look(self) -> Catalog | None:
        """The cards of the home if any has changed; None if none has. Files are read in a thread."""
        return None if self._catalog is None else await in_daemon(self._catalog.look, "cards")

    def add(self, found: Catalog | None) -> None:
        """Adds the models of new cards, not loaded. A card with the name of a tuned model is left out, with a line in the log."""
        if found is None or self._catalog is None:
            return
        known_damage = dict(self._catalog.damaged)
        new = {card.name: card for card in self._catalog.add(found)}
        for name, reason in self._catalog.damaged.items():
            if known_damage.get(name) != reason:
                log.error("a card of the catalog is damaged and is left out", model=name, reason=reason)
        for name in [name for name in new if name in self._table]:
            log.error("a pulled model has the name of a tuned one and is left out", model=name)
            del new[name]
        for record in catalog_records(new, self._defaults, self._given, reloads_on_call=self._on_demand):
            self._table.add(record)
            log.info("a model was pulled", model=record.name)
