"""One version of a model as the registry keeps it, and the reasons why it does not answer."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.version_folder import Version
from service.engine.check_record import CheckRecord
from service.engine.decisions import Decisions
from service.engine.served_head import Served
from service.engine.served_model import ServedModel
from service.errors import MemoryFull, NotReady, ZooError
from service.registry.loading.loaded import LoadedHead
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
EAGER_FP32 = "eager fp32"
"""The tier and precision in which every head is trained."""


def fp32_name(model: str) -> str:
    """The name of a model's fp32 runtime, which serves those heads that do not hold on the model's own runtime."""
    return f"{model}@fp32"


class MemoryShortage(NamedTuple):
    """The content of a MemoryFull. The error itself would keep the frames of its traceback alive."""

    message: str
    retry_after_s: float | None


def runs_on_base(card: Card) -> bool:
    """Whether a version is a head on the features of its base's network. A head for each token runs a network of its own, which
    shares the weights of the base."""
    source = card.source
    if not isinstance(source, TunedSource) or source.method != "head":
        return False
    return card.head is None or not card.head.per_token


class ModelVersion:
    """A version of a model and its state."""

    def __init__(
        self,
        card: Card,
        defaults: ModelOptions,
        given: ModelOptions,
        reloads_on_call: bool,
        published: Version | None = None,
        base: ModelVersion | None = None,
        fp32_of: str = "",
    ) -> None:
        """`published`: the version folder of a tuned version. `base` carries the version, if that is a head. `fp32_of`: the model
        whose network this is, for an fp32 runtime beside the model's own."""
        self.card = card
        self.published = published
        self.number = FIRST_VERSION if published is None else published.number
        self.own_base = base
        """The base that a head was tuned on."""
        self.base = base
        """The version that carries a head now: its own base, or the fp32 runtime of that base."""
        self.fp32_of = fp32_of
        self.check_record = CheckRecord(published)
        self.heads: list[ModelVersion] = []
        """Heads that are READY on this version."""
        self.defaults = defaults
        self.options = in_effect(defaults, given)
        self.state = ModelState.UNAVAILABLE
        self.reason = NOT_LOADED
        self.shortage: MemoryShortage | None = None
        """Set where the last load failed for want of memory."""
        self.served: Served | None = None
        """Set while the version answers: it is READY, and so is its base."""
        self.head: LoadedHead | None = None
        """Set while a head is READY, whether its base is loaded or comes back at a call."""
        self.head_checks: dict[str, HeadCheck] = {}
        """Outcome of a head's check on each runtime of its base, by `check_key`; it may answer on those where it holds."""
        self.load_s = 0.0
        self.loading: asyncio.Task[None] | None = None
        self.unloading: asyncio.Task[tuple[int, int]] | None = None
        """Returns the bytes that the version held and the bytes that were freed."""
        self.reloads_on_call = reloads_on_call
        """Whether a call loads the version if it is not loaded."""
        self.deleting = False
        """Set while the version is being deleted: it is not loaded or named any more."""
        self.retry_load_at = 0.0
        """A load that another server's aliases ask for and that failed is tried again from this time on; the registry's clock."""
        self.waiters = 0
        """Calls and loads that wait for this version; it is not evicted before they are admitted."""
        self.pending_moves = 0
        """Of an fp32 runtime: how many callers are about to move heads to it."""
        self.last_used = 0.0

    @property
    def name(self) -> str:
        """The model's name."""
        return fp32_name(self.fp32_of) if self.fp32_of else self.card.name

    @property
    def title(self) -> str:
        """The name of the version in messages."""
        return f"model {self.name!r}" if self.published is None else f"version {self.number} of model {self.name!r}"

    @property
    def key(self) -> str:
        """The name of the version in the ledger."""
        return self.name if self.published is None else f"{self.name}:{self.number}"

    @property
    def is_head(self) -> bool:
        """Whether the version runs on a base's runtime."""
        return runs_on_base(self.card)

    def holds_on(self, runtime: Runtime) -> bool:
        """Whether a READY head is known to be right on a runtime of its base. Heads are trained on eager fp32."""
        key = check_key(runtime)
        known = self.head_checks.get(key)
        return tier_and_precision(runtime) == EAGER_FP32 if known is None else known.problem is None

    @property
    def decisions(self) -> tuple[Decisions, ...]:
        """How the version decides on each runtime that was checked, against fp32; the present runtime comes last."""
        if isinstance(self.served, ServedModel):
            return () if self.served.decisions is None else (self.served.decisions,)
        found = {} if self.served is None else dict(self.head_checks)
        if self.served is not None and (now := found.pop(check_key(self.served.runtime), None)) is not None:
            found[""] = now
        return tuple(check.decisions for check in found.values() if check.decisions is not None)

    @property
    def note(self) -> str:
        """Why the version runs otherwise than its base does, or than its options say; empty where it does not."""
        if isinstance(self.served, ServedModel):
            return self.served.note
        if self.base is None or not self.base.fp32_of:
            return ""
        problems = [check.problem for check in self.head_checks.values() if check.problem]
        return f"on {self.base.fp32_of!r} itself, {problems[-1]}" if problems else ""

    def answers(self) -> bool:
        """Whether the version answers now."""
        return self.served is not None

    @property
    def pinned(self) -> bool:
        """Whether the version is never evicted; a pinned head pins its base."""
        return self.options.pinned or any(head.options.pinned for head in self.heads)

    @property
    def awaited(self) -> bool:
        """Whether a caller waits for this version, or for a head that it carries."""
        return bool(self.waiters) or any(head.waiters for head in self.heads)

    @property
    def in_use(self) -> bool:
        """Whether the version has rows in flight, or callers that wait for it."""
        return self.awaited or (self.served is not None and self.served.rows_in_flight > 0)

    @property
    def visible_state(self) -> tuple[ModelState, str]:
        """State and reason as a caller meets them: a head is unavailable while its base is."""
        if self.state is ModelState.READY and self.served is None and self.base is not None:
            state, reason = self.base.state, self.base.reason
            return state, f"its base {self.base.name!r} is unavailable: {reason}" if reason else ""
        return self.state, self.reason


def load_error(version: ModelVersion) -> ZooError:
    """The error of the last load."""
    if version.shortage is not None:
        return MemoryFull(*version.shortage)
    return NotReady(f"{version.title} could not be loaded: {version.reason}")


def not_ready(version: ModelVersion) -> NotReady:
    """Why a version does not answer now."""
    if version.deleting:
        return NotReady(f"{version.title} is being deleted")
    state, reason = version.visible_state
    if state is ModelState.LOADING:
        return NotReady(f"{version.title} is loading", retry_after_s=1.0)
    if state is ModelState.UNLOADING:
        return NotReady(f"{version.title} is being unloaded")
    return NotReady(f"{version.title} is unavailable: {reason}")


def queue_depth(version: ModelVersion) -> int:
    """Rows that wait for a version; 0 while it does not answer."""
    return 0 if version.served is None else version.served.queue_depth


def runtime_info(version: ModelVersion, ledger: Ledger) -> RuntimeInfo | None:
    """The runtime of a version; None where it does not answer."""
    served = version.served
    if served is None:
        return None
    runtime = served.runtime
    if version.head is not None:
        memory_bytes = version.head.head.memory_bytes
        return RuntimeInfo(
            device=runtime.device,
            precision=runtime.precision,
            memory_bytes=memory_bytes,
            load_s=version.load_s,
            weights_bytes=memory_bytes,
            tier_report=served.tier_report,
            tiers_pending=served.tiers_pending,
            decisions=version.decisions,
            carried_by="" if version.base is None else version.base.name,
            note=version.note,
        )
    holding = ledger.holding(version.key)
    if holding is None:
        return None
    return RuntimeInfo(
        device=runtime.device,
        precision=runtime.precision,
        memory_bytes=holding.total,
        load_s=version.load_s,
        weights_bytes=holding.weights,
        growth_bytes=holding.growth,
        tier_report=served.tier_report,
        tiers_pending=served.tiers_pending,
        decisions=version.decisions,
        note=version.note,
    )
