"""The memory ledger: the memory of each loaded model on its device, measured at its load, and the memory that a budget leaves.

A load is measured as the growth of the device's reading (`service/runtime/memory.py`): weights, copies of weights in another
layout for the kernels, tokenizers. Two things spoil a measurement: another measurement at the same time, and a library that this
load was the first to import, whose code stays in memory after the unload. The bytes of the weights, which are known exactly, are
used instead then.
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
"""Bytes below the resolution of a measurement: partly free pages, memory that threads keep. 0.2 MB were observed."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Memory of a loaded model, or of one that is to be loaded, in bytes."""

    weights: int
    """Weights and buffers, as the runtime reports them at this moment."""
    beside: int = 0
    """Memory beyond the weights, measured at the load; 0 where it is below the resolution of a measurement."""
    growth: int | None = None
    """How much the device's reading grew over the load, from whatever cause; None where it is unknown."""
    shared: SharedPart | None = None
    """The part of `weights` that other models may hold as well, in memory once."""
    precision: str = "fp32"
    """The precision of the load. A runtime that is swapped in later may have another one."""

    @property
    def total(self) -> int:
        """Memory of the model by itself."""
        return self.weights + self.beside

    @property
    def own(self) -> int:
        """Memory that no other model holds."""
        return self.total - (self.shared.bytes if self.shared is not None else 0)


NOTHING = Holding(0)


class Measurement:
    """The change of a device's reading from the construction to `end`. Begin and end it in a thread that may block."""

    def __init__(self, ledger: Ledger) -> None:
        self.spoilt = False
        self.libraries = False
        """After `end`: whether modules were imported during the measurement."""
        self._ledger = ledger
        self._modules = len(sys.modules)
        self._before = ledger.begin(self)

    def so_far(self) -> int | None:
        """Bytes that were allocated, or freed where negative; None where that is unknown."""
        return self._ledger.change(self, self._before)

    def end(self) -> int | None:
        """As `so_far`, and ends the measurement."""
        self.libraries = len(sys.modules) > self._modules
        return self._ledger.end(self, self._before)


class _Disturbance:
    """Takes the place of a measurement among those that are open, and measures nothing."""

    spoilt = True


def freed(measurement: Measurement, weights: int) -> int | None:
    """Bytes that were freed since the measurement began, None where that is unknown. In a thread that may block."""
    change = measurement.so_far()
    if change is not None and -change < weights // 2:
        # A reference cycle holds the weights. The collector then searches all objects, those that startup froze included, which
        # halts the interpreter for some tenths of a second; so it runs only in this case. The measurement is still open, so that
        # a load that begins meanwhile does not count memory that the collector frees.
        frozen = gc.get_freeze_count() > 0
        gc.unfreeze()
        gc.collect()
        if frozen:
            gc.freeze()
    change = measurement.end()
    return None if change is None else max(0, -change)


class Ledger:
    """Memory of all models on one device. `begin` and `end` may be called from any thread, the rest belongs to the event loop."""

    def __init__(
        self, read: MemoryReading = lambda: None, budget_mib: int = 0, heads: Callable[[], int] = lambda: 0
    ) -> None:
        """`read` reads the memory in use on the device; `budget_mib` bounds the memory of all models, 0 for no bound; `heads`
        returns the memory of heads on shared backbones, which have no holdings of their own."""
        self._heads = heads
        self.budget = budget_mib * MIB
        self._read = read
        self._open: set[Measurement | _Disturbance] = set()
        self._lock = threading.Lock()  # guards `_open`
        self._holdings: dict[str, Holding] = {}
        self._needs: dict[str, Holding] = {}

    # ── measuring ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, measurement: Measurement) -> int | None:
        """See Measurement. Measurements that overlap spoil each other: their bytes cannot be told apart."""
        with self._lock:
            measurement.spoilt = bool(self._open)
            for other in self._open:
                other.spoilt = True
            self._open.add(measurement)
        return self._read()

    def disturb(self) -> Callable[[], None]:
        """Spoils measurements until the result is called, as a measurement would, without the cost of a reading: free pages that
        are returned to the system are missing in the next batches."""
        disturbance = _Disturbance()
        with self._lock:
            for other in self._open:
                other.spoilt = True
            self._open.add(disturbance)

        def end() -> None:
            with self._lock:
                self._open.discard(disturbance)

        return end

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

    # ── holdings ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def loaded(
        self,
        model: str,
        weights: int,
        growth: int | None,
        libraries: bool,
        shared: SharedPart | None = None,
        precision: str = "fp32",
    ) -> Holding:
        """Adds a loaded model; `libraries` says that its load imported some, `shared` is a part of `weights`."""
        beside = 0 if growth is None or libraries or growth - weights < NOISE else growth - weights
        held = self._holdings[model] = self._needs[model] = Holding(weights, beside, growth, shared, precision)
        return held

    def reweighed(self, model: str, weights: int, shared: SharedPart | None = None) -> Holding:
        """Updates the weights of a loaded model, after another runtime was swapped in."""
        old = self._holdings[model]
        held = self._holdings[model] = replace(old, weights=weights, shared=shared)
        return held

    def unloaded(self, model: str, freed: int | None) -> int:
        """Removes a model whose unload freed `freed` bytes (None where unknown). Returns the memory that it held."""
        held, need = self._holdings.pop(model), self._needs[model]
        # The next load takes the bytes that were freed, unless another runtime had been swapped in: a load begins without it.
        if freed is not None and held.weights == need.weights:
            self._needs[model] = replace(need, beside=max(0, freed - need.weights))
        return held.total

    def holding(self, model: str) -> Holding | None:
        """Memory of a model; None where it is not loaded."""
        return self._holdings.get(model)

    def need(self, card: Card, model: str = "", precision: str = "auto") -> Holding:
        """Memory that a model will hold once it is loaded: as measured before in this precision, else the bytes of its
        parameters, of which a LoRA version in fp32 shares those of its base. `model`: its name in the ledger, where that is
        not the card's."""
        precision = "fp32" if precision == "auto" else precision  # a faster tier is tried after the load
        known = self._needs.get(model or card.name)
        if known is not None and known.precision == precision:
            return known
        shared = self._shared_with(card) if precision == "fp32" else None  # cast weights are not shared
        return Holding(card.parameters * BYTES[precision], shared=shared, precision=precision)

    def _shared_with(self, card: Card) -> SharedPart | None:
        """The weights of its base that a version will find in memory."""
        source = card.source
        if not isinstance(source, TunedSource) or source.method == "full":
            return None
        parts = [held.shared for held in self._holdings.values() if held.shared is not None]
        return next((part for part in parts if part.digest == source.base_digest), None)

    @property
    def total(self) -> int:
        """Memory of all loaded models; shared weights count once."""
        return _total(self._holdings.values()) + self._heads()

    @property
    def weights(self) -> int:
        """The weights and buffers among `total`."""
        return _total(self._holdings.values()) - sum(held.beside for held in self._holdings.values())

    def total_of(self, models: Iterable[str]) -> int:
        """Memory of some of the loaded models; shared weights count once."""
        return _total([self._holdings[model] for model in models if model in self._holdings])

    # ── the budget ────────────────────────────────────────────────────────────────────────────────────────────────────

    def added(self, need: Holding) -> int:
        """Bytes by which `need` would raise the total: weights that it shares with loaded models are in memory already."""
        return _total([*self._holdings.values(), need]) - _total(self._holdings.values())

    def missing(self, need: Holding) -> int:
        """Bytes that must be freed before `need` fits; 0 where it fits, or where there is no budget."""
        return max(0, self.total + self.added(need) - self.budget) if self.budget else 0

    def to_evict(self, need: Holding, candidates: Iterable[str]) -> list[str] | None:
        """Which of `candidates` must be unloaded so that `need` fits, in the order of the candidates.

        None where unloading all of them would not be enough: then none is unloaded in vain. Candidates that share weights with
        `need` come last: unloading them does not free the shared weights.
        """
        missing = self.missing(need)
        left = dict(self._holdings)
        if need.shared is not None:
            candidates = sorted(candidates, key=lambda model: left[model].shared == need.shared)
        beyond = _total([*left.values(), need]) - missing  # the most that models may hold, `need` included
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
