"""What the registry knows of every model, and who answers for a name and a version. Nothing is loaded here."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Callable, Iterator, Mapping

from model_zoo.cards.card import Card
from service.engine.served_head import Served
from service.engine.served_model import ServedModel
from service.errors import NotFound
from service.observability.log import logger
from service.observability.recorder import Recorder
from service.registry.loading.loader import Loads
from service.registry.loading.memory_ledger import Ledger
from service.registry.model_record import ModelRecord
from service.registry.model_status import ModelStatus
from service.registry.model_version import ModelVersion, not_ready
from service.registry.states import ModelState, check_move
from service.scheduler.scheduler import DeviceScheduler
from service.settings import ModelOptions

log = logger(__name__)

NOTHING_GIVEN = ModelOptions()


class ModelTable:
    """Models by name. All methods belong to the event loop."""

    def __init__(
        self,
        cards: Mapping[str, Card],
        defaults: Callable[[Card], ModelOptions],
        loader: Loads,
        scheduler: DeviceScheduler,
        recorder: Recorder,
        *,
        given: Mapping[str, ModelOptions] | None = None,
        ledger: Ledger | None = None,
        on_demand: bool = False,
        is_here: Callable[[Card], bool] = lambda card: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`defaults` has a value for every option of a card's model, `given` what was told of single ones.

        `on_demand`: a call loads a model whose files are on this machine, which `is_here` tells. `clock` is the event loop's.
        """
        self._given = dict(given or {})
        self._defaults = defaults
        self._loader = loader
        self._scheduler = scheduler
        self._recorder = recorder
        self._on_demand = on_demand
        self._is_here = is_here
        self._clock = clock
        self._turn = asyncio.Lock()  # whoever loads a network holds it
        self.ledger = ledger or Ledger()
        self.on_change: list[Callable[[str, ModelState], None]] = []
        """Called on the loop after a model has entered a state."""
        self.on_ready: list[Callable[[ServedModel], None]] = []
        """Called on the loop after a network has begun to answer."""
        self._books: dict[str, ModelRecord] = {}
        self._statuses: dict[str, ModelStatus] = {}  # made anew at every change, read at every call
        for name, card in sorted(cards.items()):
            options = self._given.get(name, NOTHING_GIVEN)
            self._add_book(
                ModelRecord(name, options, [ModelVersion(card, defaults(card), options, on_demand)], tuned=False)
            )

    def resolve(self, name: str, version: str = "") -> Served:
        """Who answers for a model and a version (number, alias, or empty for `stable`, or the canary where it is its turn).

        Raises NotFound for an unknown name or version, NotReady where it does not answer now.
        """
        return self._admitted(self._book(name).pick(version))

    def splits(self, name: str) -> bool:
        """Whether calls to a model that name no version are shared out between two: each of them may be resolved once only."""
        book = self._books.get(name)
        return book is not None and book.names.canary_share > 0.0

    def _admitted(self, entry: ModelVersion) -> Served:
        if entry.served is None:
            raise not_ready(entry)
        entry.last_used = self._clock()
        if entry.base is not None:
            entry.base.last_used = entry.last_used
        return entry.served

    def deadline(self, name: str) -> float:
        """When a call to a known model that brings no deadline must be answered, on the registry's clock."""
        return self._deadline(self._books[name].primary)

    def _deadline(self, entry: ModelVersion) -> float:
        return self._clock() + (entry.options.default_timeout_ms or 0.0) / 1000.0

    def status(self, name: str, version: str = "") -> ModelStatus:
        """What there is to say of one model, or of one version of it. Raises NotFound for an unknown name or version.

        Without a version a model without a stable one is told of as well.
        """
        book = self._book(name)
        if not version:
            return self._statuses[name]
        entry = book.find(version)
        return self._statuses[name] if entry is book.primary else book.status(self.ledger, entry)

    @property
    def rows_in_flight(self) -> int:
        """Rows inside all networks, those of heads on them included."""
        return sum(e.served.rows_in_flight for e in self._all() if isinstance(e.served, ServedModel))

    def statuses(self) -> list[ModelStatus]:
        """All models, in order of name."""
        return [self._statuses[name] for name in self._books]

    def serves(self, served: Served) -> bool:
        """Whether it is this load of its version that answers now. From any thread."""
        book = self._books.get(served.name)
        entry = None if book is None else book.entries.get(served.version)
        return entry is not None and entry.served is served

    # ── within ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _all(self) -> Iterator[ModelVersion]:
        return (entry for book in self._books.values() for entry in book.entries.values())

    def _book(self, name: str) -> ModelRecord:
        book = self._books.get(name)
        if book is None:
            raise self._unknown(name)
        return book

    def _found(self, name: str, version: str) -> ModelVersion:
        """The version that is meant, where nobody calls it: the canary's share does not count."""
        book = self._book(name)
        return book.find(version) if version else book.primary

    def _add_book(self, book: ModelRecord) -> None:
        self._books[book.name] = book
        self._books = dict(sorted(self._books.items()))
        self._refresh(book)
        self._tell(book)

    # ── moves ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _move(self, entry: ModelVersion, state: ModelState, reason: str) -> None:
        check_move(entry.name, entry.state, state)
        entry.state, entry.reason = state, reason
        for name in dict.fromkeys([entry.name, *(rider.name for rider in entry.riders)]):
            self._changed(self._books[name])

    def _changed(self, book: ModelRecord) -> None:
        """Something of a model is otherwise than before."""
        self._refresh(book)
        self._tell(book)

    def _refresh(self, book: ModelRecord) -> None:
        self._statuses[book.name] = book.status(self.ledger)

    def _tell(self, book: ModelRecord) -> None:
        """Tells listeners of the model's state, where it is another than they know."""
        state = self._statuses[book.name].state
        if state is book.told:
            return
        first, book.told = book.told is None, state
        self._recorder.model_state(book.name, str(state), tuple(ModelState))
        if not first:
            for listener in self.on_change:
                listener(book.name, state)

    def _unknown(self, name: str) -> NotFound:
        near = difflib.get_close_matches(name[:64], self._books, n=3, cutoff=0.5)
        return NotFound("model", name[:64], near, known=f"models are {', '.join(self._books)}")
