"""One version of a model as the registry keeps it, and why it does not answer."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from model_zoo.cards.card import (
    Card,
)
from model_zoo.cards.weight_source import (
    TunedSource,
)
from model_zoo.version_folder import (
    Version,
)
from service.engine.check_record import (
    CheckRecord,
)
from service.engine.decisions import (
    Decisions,
)
from service.engine.served_head import Served
from service.engine.served_model import ServedModel
from service.errors import MemoryFull, NotReady, ZooError
from service.registry.loading.loader import LoadedHead
from service.registry.loading.memory_ledger import Ledger
from service.registry.model_status import RuntimeInfo
from service.registry.options import in_effect
from service.registry.states import ModelState
from service.runtime.network import Runtime
from service.settings import ModelOptions
from service.verification.check_key import check_key, tier_and_precision
from service.verification.head_checks import HeadCheck

FIRST_VERSION = 1
NOT_LOADED = "not loaded"


def fp32_name(model: str) -> str:
    """What the fp32 runtime of a model is called that serves those of its heads which its own runtime does not."""
    return f"{model}@fp32"


class NoRoom(NamedTuple):
    """What a MemoryFull said. The error itself would keep alive whatever its traceback saw."""

    message: str
    retry_after_s: float | None


class ModelVersion:
    """A version of a model and what became of it."""

    def __init__(
        self,
        card: Card,
        defaults: ModelOptions,
        given: ModelOptions,
        comes_back: bool,
        version: Version | None = None,
        base: ModelVersion | None = None,
        stands_in_for: str = "",
    ) -> None:
        """`version` is its place on disk, for one that was tuned; `base` carries it, for a head. `stands_in_for`: the model whose
        network this is, for an fp32 runtime beside the model's own."""
        self.card = card
        self.version = version
        self.number = FIRST_VERSION if version is None else version.number
        self.home = base
        """The base that a head was tuned on."""
        self.base = base
        """What carries a head: its home, or the fp32 runtime of its home."""
        self.stands_in_for = stands_in_for
        self.record = CheckRecord(version)
        self.riders: list[ModelVersion] = []
        """Heads that are READY on this one."""
        self.defaults = defaults
        self.options = in_effect(defaults, given)
        self.state = ModelState.UNAVAILABLE
        self.reason = NOT_LOADED
        self.no_room: NoRoom | None = None
        """Set where the last load failed for want of memory."""
        self.served: Served | None = None
        """Set while it answers: it is READY, and so is its base."""
        self.head: LoadedHead | None = None
        """Set while a head is READY, whether its base is there or comes back at a call."""
        self.proven: dict[str, HeadCheck] = {}
        """How a head did on runtimes of its base, by `check_key`; it may answer on those where it holds."""
        self.load_s = 0.0
        self.loading: asyncio.Task[None] | None = None
        self.unloading: asyncio.Task[tuple[int, int]] | None = None
        """Gives what it held and what came back."""
        self.comes_back = comes_back
        """Whether a call that finds it away loads it."""
        self.leaving = False
        """Set while it is being deleted: nothing loads or names it any more."""
        self.try_again = 0.0
        """From when on a load may be tried anew that other servers' names ask for and that failed; on the registry's clock."""
        self.awaited = 0
        """Calls that wait for its load; they must get in before it may go again."""
        self.wanted = 0
        """Of an fp32 runtime: how many are about to move heads to it."""
        self.last_used = 0.0

    @property
    def name(self) -> str:
        """Of the model."""
        return fp32_name(self.stands_in_for) if self.stands_in_for else self.card.name

    @property
    def title(self) -> str:
        """As messages call it."""
        return f"model {self.name!r}" if self.version is None else f"version {self.number} of model {self.name!r}"

    @property
    def key(self) -> str:
        """Its line in the ledger."""
        return self.name if self.version is None else f"{self.name}:{self.number}"

    @property
    def is_head(self) -> bool:
        """Whether it rides on a base's runtime."""
        source = self.card.source
        return isinstance(source, TunedSource) and source.method == "head"

    def may_ride(self, runtime: Runtime) -> bool:
        """Whether a READY head is known to hold on a runtime of its base. What it was read from is eager fp32."""
        key = check_key(runtime)
        return self.proven[key].problem is None if key in self.proven else tier_and_precision(runtime) == "eager fp32"

    @property
    def decisions(self) -> tuple[Decisions, ...]:
        """How it decides on what was looked at, against fp32; what it runs on now comes last."""
        if isinstance(self.served, ServedModel):
            return () if self.served.decisions is None else (self.served.decisions,)
        found = {} if self.served is None else dict(self.proven)
        if self.served is not None and (now := found.pop(check_key(self.served.runtime), None)) is not None:
            found[""] = now
        return tuple(check.decisions for check in found.values() if check.decisions is not None)

    @property
    def note(self) -> str:
        """Why it runs otherwise than its base does, or than its options say; empty where it does not."""
        if isinstance(self.served, ServedModel):
            return self.served.note
        if self.base is None or not self.base.stands_in_for:
            return ""
        problems = [check.problem for check in self.proven.values() if check.problem]
        return f"on {self.base.stands_in_for!r} itself, {problems[-1]}" if problems else ""

    def answers(self) -> bool:
        """Whether it does now."""
        return self.served is not None

    @property
    def pinned(self) -> bool:
        """Whether it never makes room for others; a pinned head pins its base."""
        return self.options.pinned or any(rider.options.pinned for rider in self.riders)

    @property
    def expected(self) -> bool:
        """Whether somebody waits to get in, or into a head that it carries."""
        return bool(self.awaited) or any(rider.awaited for rider in self.riders)

    @property
    def in_use(self) -> bool:
        """Whether somebody is inside, or waits to get in."""
        return self.expected or (self.served is not None and self.served.rows_in_flight > 0)

    @property
    def seen(self) -> tuple[ModelState, str]:
        """State and reason as a caller meets them: a head is not there while its base is not."""
        if self.state is ModelState.READY and self.served is None and self.base is not None:
            state, reason = self.base.state, self.base.reason
            return state, f"its base {self.base.name!r} is unavailable: {reason}" if reason else ""
        return self.state, self.reason


def failure(entry: ModelVersion) -> ZooError:
    """Why the last load failed."""
    if entry.no_room is not None:
        return MemoryFull(*entry.no_room)
    return NotReady(f"{entry.title} could not be loaded: {entry.reason}")


def not_ready(entry: ModelVersion) -> NotReady:
    """Why a version does not answer now."""
    if entry.leaving:
        return NotReady(f"{entry.title} is being deleted")
    state, reason = entry.seen
    if state is ModelState.LOADING:
        return NotReady(f"{entry.title} is loading", retry_after_s=1.0)
    if state is ModelState.UNLOADING:
        return NotReady(f"{entry.title} is being unloaded")
    return NotReady(f"{entry.title} is unavailable: {reason}")


def runtime_info(entry: ModelVersion, ledger: Ledger) -> RuntimeInfo | None:
    """What runs a version; None where it does not answer."""
    served = entry.served
    if served is None:
        return None
    runs = served.runtime
    if entry.head is not None:
        held = entry.head.head.memory_bytes
        return RuntimeInfo(
            runs.device,
            runs.precision,
            held,
            entry.load_s,
            held,
            evidence=served.evidence,
            decisions=entry.decisions,
            carried_by="" if entry.base is None else entry.base.name,
            note=entry.note,
        )
    line = ledger.holding(entry.key)
    if line is None:
        return None
    return RuntimeInfo(
        runs.device,
        runs.precision,
        line.total,
        entry.load_s,
        line.weights,
        line.growth,
        served.evidence,
        entry.decisions,
        note=entry.note,
    )
