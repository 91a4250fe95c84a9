"""The memory ledger: what each loaded model holds on the device, measured at its load, and what a budget leaves for others.

A load is measured as the growth of what the device's reading says (`service/runtime/memory.py`): weights, weights that were
laid out anew for the kernels, tokenizers. Two things spoil a measurement, and the bytes of the weights, which are known
exactly, stand in for it then: another measurement at the same time, and a library that this load was the first to import,
whose code no unload gives back.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from service.runtime.memory import MemoryReading
from service.runtime.network import SharedPart

MIB = 1 << 20
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
"""Of one parameter."""
NOISE = MIB
"""Bytes that a measurement cannot tell: pages that are free in part only, what threads keep for themselves. Seen: 0.2 MB."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What one loaded model holds, or one that is to be loaded will, in bytes."""

    weights: int
    """Weights and buffers, as the runtime reports them at this moment."""
    beside: int = 0
    """What was measured beyond them at the load; 0 where that is less than a measurement can tell."""
    growth: int | None = None
    """How much the device's reading grew over the load, with whatever else came along; None where it could not be told."""
    shared: SharedPart | None = None
    """Of `weights`, those that others may hold as well, in memory once."""
    precision: str = "fp32"
    """In which it was loaded, or will be. What runs in place of that later may be in another."""

    @property
    def total(self) -> int:
        """What the model counts for by itself."""
        return self.weights + self.beside

    @property
    def own(self) -> int:
        """Of that, what nobody else holds."""
        return self.total - (self.shared.bytes if self.shared is not None else 0)


NOTHING = Holding(0)


class Measurement:
    """The change of a device's reading from here to `end`. Begin and end it in a thread that may wait."""

    def __init__(self, ledger: Ledger) -> None:
        self.spoilt = False
        self.libraries = False
        """After `end`: whether modules were imported meanwhile."""
        self._ledger = ledger
        self._modules = len(sys.modules)
        self._before = ledger.begin(self)

    def so_far(self) -> int | None:
        """Bytes that came, or went where negative; None where that cannot be told."""
        return self._ledger.change(self, self._before)

    def end(self) -> int | None:
        """`so_far`, for the last time."""
        self.libraries = len(sys.modules) > self._modules
        return self._ledger.end(self, self._before)


def freed(measurement: Measurement, weights: int) -> int | None:
    """Bytes that came back since the measurement began, None where that cannot be told. In a thread that may wait."""
    change = measurement.so_far()
    if change is not None and -change < weights // 2:
        # Something that refers to itself holds the weights. The collector looks among all objects, those that startup froze
        # included, which halts the interpreter for some tenths of a second; so it is asked only then. A load that begins
        # meanwhile must know that somebody measures: what the collector finds is none of its bytes.
        frozen = gc.get_freeze_count() > 0
        gc.unfreeze()
        gc.collect()
        if frozen:
            gc.freeze()
    change = measurement.end()
    return None if change is None else max(0, -change)


class Ledger:
    """Who holds what on one device. `begin` and `end` may be called from any thread, the rest belongs to the event loop."""

    def __init__(
        self, read: MemoryReading = lambda: None, budget_mib: int = 0, heads: Callable[[], int] = lambda: 0
    ) -> None:
        """`read` tells what the device holds; `budget_mib` bounds what models may hold together, 0 for no bound; `heads` tells
        what heads on shared backbones hold, which have no lines of their own."""
        self._heads = heads
        self.budget = budget_mib * MIB
        self._read = read
        self._open: set[Measurement] = set()
        self._lock = threading.Lock()  # guards `_open`
        self._holdings: dict[str, Holding] = {}
        self._needs: dict[str, Holding] = {}

    # ── measuring ─────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, measurement: Measurement) -> int | None:
        """See Measurement. Whoever else measures now cannot know whose bytes come and go."""
        with self._lock:
            measurement.spoilt = bool(self._open)
            for other in self._open:
                other.spoilt = True
            self._open.add(measurement)
        return self._read()

    def change(self, measurement: Measurement, before: int | None) -> int | None:
        """See Measurement."""
        after = self._read()
        return None if measurement.spoilt or before is None or after is None else after - before

    def end(self, measurement: Measurement, before: int | None) -> int | None:
        """See Measurement."""
        change = self.change(measurement, before)
        with self._lock:
            self._open.discard(measurement)
        return change

    # ── the books ─────────────────────────────────────────────────────────────────────────────────────────────

    def loaded(
        self,
        model: str,
        weights: int,
        growth: int | None,
        libraries: bool,
        shared: SharedPart | None = None,
        precision: str = "fp32",
    ) -> Holding:
        """Enters a model that was loaded; `libraries` says that its load imported some, `shared` is a part of `weights`."""
        beside = 0 if growth is None or libraries or growth - weights < NOISE else growth - weights
        held = self._holdings[model] = self._needs[model] = Holding(weights, beside, growth, shared, precision)
        return held

    def reweighed(self, model: str, weights: int, shared: SharedPart | None = None) -> Holding:
        """A loaded model's weights changed, as when a faster form of it was swapped in."""
        old = self._holdings[model]
        held = self._holdings[model] = replace(old, weights=weights, shared=shared)
        return held

    def unloaded(self, model: str, freed: int | None) -> int:
        """Strikes out a model of whose unload `freed` bytes were measured. Gives what it counted for."""
        held, need = self._holdings.pop(model), self._needs[model]
        # What came back is what the next load takes, unless a faster form went, which a load does not begin with.
        if freed is not None and held.weights == need.weights:
            self._needs[model] = replace(need, beside=max(0, freed - need.weights))
        return held.total

    def holding(self, model: str) -> Holding | None:
        """What a model holds; None where it is not loaded."""
        return self._holdings.get(model)

    def need(self, card: Card, model: str = "", precision: str = "auto") -> Holding:
        """What a model will hold once it is loaded: what was measured of it before in this precision, else its parameters, of
        which a LoRA version in fp32 shares those of its base. `model` is the name on its line, where that is not the card's."""
        precision = "fp32" if precision == "auto" else precision  # a faster form is looked for once it answers
        known = self._needs.get(model or card.name)
        if known is not None and known.precision == precision:
            return known
        shared = self._shared_with(card) if precision == "fp32" else None  # a cast one holds its weights alone
        return Holding(card.parameters * BYTES[precision], shared=shared, precision=precision)

    def _shared_with(self, card: Card) -> SharedPart | None:
        """What a version that was never loaded will find in memory of its base."""
        source = card.source
        if not isinstance(source, TunedSource) or source.method != "lora":
            return None
        parts = [held.shared for held in self._holdings.values() if held.shared is not None]
        return next((part for part in parts if part.digest == source.base_digest), None)

    @property
    def total(self) -> int:
        """What all loaded models count for; what they share, once."""
        return _total(self._holdings.values()) + self._heads()

    @property
    def weights(self) -> int:
        """Of that, weights and buffers."""
        return _total(self._holdings.values()) - sum(held.beside for held in self._holdings.values())

    def total_of(self, models: Iterable[str]) -> int:
        """What some of the loaded models count for; what they share, once."""
        return _total([self._holdings[model] for model in models if model in self._holdings])

    # ── the budget ────────────────────────────────────────────────────────────────────────────────────────────

    def added(self, need: Holding) -> int:
        """Bytes by which `need` more would raise the total: what it shares with those that are loaded is there already."""
        return _total([*self._holdings.values(), need]) - _total(self._holdings.values())

    def missing(self, need: Holding) -> int:
        """Bytes that must go before `need` more fits; 0 where it fits, or where nothing bounds them."""
        return max(0, self.total + self.added(need) - self.budget) if self.budget else 0

    def to_evict(self, need: Holding, candidates: Iterable[str]) -> list[str] | None:
        """Which of `candidates`, the first being the first to go, must be unloaded so that `need` fits.

        None where all of them together would not do: then none has to go in vain. Who shares weights with `need` comes last, as
        those stay whoever goes.
        """
        missing = self.missing(need)
        left = dict(self._holdings)
        if need.shared is not None:
            candidates = sorted(candidates, key=lambda model: left[model].shared == need.shared)
        beyond = _total([*left.values(), need]) - missing  # what may stay, and come
        chosen: list[str] = []
        for model in candidates:
            if _total([*left.values(), need]) <= beyond:
                break
            chosen.append(model)
            del left[model]
        return None if _total([*left.values(), need]) > beyond else chosen


def _total(holdings: Collection[Holding]) -> int:
    shared = {held.shared for held in holdings if held.shared is not None}
    return sum(held.own for held in holdings) + sum(part.bytes for part in shared)
