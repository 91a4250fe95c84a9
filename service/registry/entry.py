"""One model of the catalog as the registry keeps it, and what is told of it."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from model_zoo.card import Card
from service.errors import MemoryFull, NotReady, ZooError
from service.registry.ledger import Ledger
from service.registry.options import in_effect, limits_of
from service.registry.served import ServedModel
from service.registry.states import ModelState
from service.registry.status import ModelStatus, RuntimeInfo
from service.settings import ModelOptions

STABLE = "stable"
FIRST_VERSION = 1
NOT_LOADED = "not loaded"


class NoRoom(NamedTuple):
    """What a MemoryFull said. The error itself would keep alive whatever its traceback saw."""

    message: str
    retry_after_s: float | None


class Entry:
    """A model of the catalog and what became of it."""

    def __init__(self, card: Card, defaults: ModelOptions, given: ModelOptions, comes_back: bool) -> None:
        self.card = card
        self.defaults = defaults
        self.given = given
        self.options = in_effect(defaults, given)
        self.state = ModelState.UNAVAILABLE
        self.reason = NOT_LOADED
        self.no_room: NoRoom | None = None
        """Set where the last load failed for want of memory."""
        self.served: ServedModel | None = None
        self.load_s = 0.0
        self.loading: asyncio.Task[None] | None = None
        self.unloading: asyncio.Task[tuple[int, int]] | None = None
        """Gives what it held and what came back."""
        self.comes_back = comes_back
        """Whether a call that finds it away loads it."""
        self.awaited = 0
        """Calls that wait for its load; they must get in before it may go again."""
        self.last_used = 0.0

    @property
    def name(self) -> str:
        """Of the model."""
        return self.card.name

    @property
    def in_use(self) -> bool:
        """Whether somebody is inside, or waits to get in."""
        return bool(self.awaited) or (self.served is not None and self.served.rows_in_flight > 0)


def failure(entry: Entry) -> ZooError:
    """Why the last load failed."""
    if entry.no_room is not None:
        return MemoryFull(*entry.no_room)
    return NotReady(f"model {entry.name!r} could not be loaded: {entry.reason}")


def not_ready(entry: Entry) -> NotReady:
    """Why a model does not answer now."""
    name = entry.name
    if entry.state is ModelState.LOADING:
        return NotReady(f"model {name!r} is loading", retry_after_s=1.0)
    if entry.state is ModelState.UNLOADING:
        return NotReady(f"model {name!r} is being unloaded")
    return NotReady(f"model {name!r} is unavailable: {entry.reason}")


def status_of(entry: Entry, ledger: Ledger) -> ModelStatus:
    """What there is to say of a model at this moment."""
    served, held = entry.served, ledger.holding(entry.card.name)
    runtime = None
    if served is not None and held is not None:
        runs = served.runtime
        runtime = RuntimeInfo(
            runs.device,
            runs.precision,
            held.total,
            entry.load_s,
            held.weights,
            held.growth,
            served.evidence,
        )
    limits = limits_of(entry.options)
    return ModelStatus(
        entry.card.name,
        entry.card,
        entry.state,
        entry.reason,
        (FIRST_VERSION,) if served else (),
        {STABLE: FIRST_VERSION} if served else {},
        served.task.labels if served else (),
        runtime,
        limits.max_batch_size,
        limits.max_queue_size,
        limits.max_queue_delay_s,
        entry.loading is not None or entry.reason != NOT_LOADED,
        entry.options,
    )
