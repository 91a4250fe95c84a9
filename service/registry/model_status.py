"""What the registry reports of models and versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_zoo.cards.card import Card
from service.engine.decisions import Decisions
from service.engine.tier_report import TierReport
from service.registry.states import ModelState
from service.scheduler.policy import BatchLimits
from service.settings import ModelOptions


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """The runtime of a loaded model."""

    device: str
    precision: str
    memory_bytes: int
    """Memory on the device according to the ledger: measured where that is possible, else the bytes of the weights."""
    load_s: float
    weights_bytes: int = 0
    """Weights and buffers alone."""
    growth_bytes: int | None = None
    """How much the device's reading grew over the load; None where it is unknown."""
    tier_report: TierReport | None = None
    tiers_pending: bool = False
    """Whether another tier is still to be tried."""
    decisions: tuple[Decisions, ...] = ()
    """How a tuned version decides on each runtime that was checked, against fp32; the latest last."""
    carried_by: str = ""
    """Of a head: the model whose network it runs on."""
    note: str = ""
    """Why it runs otherwise than its base does, or than its options say; empty where it does not."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Which versions answer the calls that name no version."""

    stable: int = 0
    """The version that gets most of the calls; 0 where no version was promoted yet."""
    canary: int = 0
    """The version on trial; 0 where there is none."""
    canary_share: float = 0.0
    """Share of the calls that the canary gets, 0..1."""
    rolled_back_reason: str = ""
    """Why the last canary lost its share; empty where it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """The state of one version of a model."""

    number: int
    state: ModelState
    reason: str
    """Why it does not answer, where it is UNAVAILABLE."""
    aliases: tuple[str, ...] = ()
    """The aliases that name it, in order."""
    lineage: Mapping[str, Any] | None = None
    """`lineage.json` as its job wrote it (model_zoo/version_folder.py lists the fields); None for a model of the zoo."""
    created: float | None = None
    """When it was published, in seconds since 1970; None for a model of the zoo."""
    size_bytes: int = 0
    """Of its own files; 0 where they are not on this machine."""
    memory_bytes: int = 0
    """Memory beside what it shares with its base; 0 where it is not loaded."""
    runtime: RuntimeInfo | None = None
    """Its runtime; None where it is not loaded."""
    damaged: str = ""
    """Which of its files cannot be read: one clause; empty where all can."""


@dataclass(frozen=True, slots=True)
class VersionReport:
    """How a tuned version did on held-out data."""

    version: int
    report: Mapping[str, Any]
    """`report.json` as its job wrote it."""
    html: bytes
    """A self-contained page, UTF-8; empty where the job wrote none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """The state of a model."""

    name: str
    card: Card
    state: ModelState
    reason: str
    versions: tuple[int, ...]
    """Loaded versions, in rising order."""
    aliases: Mapping[str, int]
    labels: tuple[str, ...]
    runtime: RuntimeInfo | None
    limits: BatchLimits
    """Of batches and of the queue, as the options in effect say."""
    ever_loaded: bool
    """Whether a load was asked for since the server started."""
    options: ModelOptions = field(default_factory=ModelOptions)
    """The options in effect, each with its value."""
    base: str = ""
    """The base that it was tuned from; empty for a model of the zoo."""
    traffic: Traffic = field(default_factory=Traffic)
    """Which versions answer calls that name no version."""

    @property
    def max_batch_size(self) -> int:
        """Most rows of one batch."""
        return self.limits.max_batch_size

    @property
    def max_queue_size(self) -> int:
        """Most rows that may wait or run at once."""
        return self.limits.max_queue_size

    @property
    def max_queue_delay_s(self) -> float:
        """How long a batch waits for more rows."""
        return self.limits.max_queue_delay_s


@dataclass(frozen=True, slots=True)
class Unloaded:
    """The outcome of an unload."""

    status: ModelStatus
    held_bytes: int = 0
    """Memory that the ledger held for the model; 0 where it was not loaded."""
    freed_bytes: int = 0
    """Memory that was freed: by the device's reading, or the model's weights where that is unknown."""
