"""What there is to say of a model to whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_zoo.cards.card import Card
from service.engine.decisions import Decisions
from service.engine.tier_report import TierReport
from service.registry.states import ModelState
from service.settings import ModelOptions


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What runs a loaded model."""

    device: str
    precision: str
    memory_bytes: int
    """What it holds on the device by the ledger: measured where it could be, else its weights."""
    load_s: float
    weights_bytes: int = 0
    """Weights and buffers alone."""
    growth_bytes: int | None = None
    """How much the device's reading grew over the load; None where it could not be told."""
    evidence: TierReport | None = None
    decisions: tuple[Decisions, ...] = ()
    """How a tuned version decides on what was looked at, against fp32; the latest last."""
    carried_by: str = ""
    """Of a head: the model whose network it runs on."""
    note: str = ""
    """Why it runs otherwise than its base does, or than its options say; empty where it does not."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Where calls that name no version go."""

    stable: int = 0
    """The version that gets most of them; 0 where no version was good enough yet."""
    canary: int = 0
    """The version that is tried out; 0 where none is."""
    canary_share: float = 0.0
    """Share of the calls that go to the canary, 0..1."""
    rolled_back_reason: str = ""
    """Why the last canary lost its share; empty where it did not."""


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What there is to say of one version of a model."""

    number: int
    state: ModelState
    reason: str
    """Why it does not answer, where it is UNAVAILABLE."""
    aliases: tuple[str, ...] = ()
    """That name it, in order."""
    lineage: Mapping[str, Any] | None = None
    """`lineage.json` as its job wrote it (model_zoo/version_folder.py lists the fields); None for a model of the zoo."""
    created: float | None = None
    """When it was published, in seconds since 1970; None for a model of the zoo."""
    size_bytes: int = 0
    """Of its own files; 0 where they are not on this machine."""
    memory_bytes: int = 0
    """What it holds beside what it shares with its base; 0 where it is not loaded."""
    runtime: RuntimeInfo | None = None
    """What runs it; None where it is not loaded."""
    damaged: str = ""
    """What cannot be read of its files: one clause; empty where all can."""


@dataclass(frozen=True, slots=True)
class VersionReport:
    """How a tuned version did on held-out data."""

    version: int
    report: Mapping[str, Any]
    """`report.json` as its job wrote it."""
    html: bytes
    """A page that stands alone, UTF-8; empty where the job wrote none."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What there is to say of a model."""

    name: str
    card: Card
    state: ModelState
    reason: str
    versions: tuple[int, ...]
    """Loaded ones, in rising order."""
    aliases: Mapping[str, int]
    labels: tuple[str, ...]
    runtime: RuntimeInfo | None
    max_batch_size: int
    max_queue_size: int
    max_queue_delay_s: float
    ever_loaded: bool
    """Whether anybody asked for it since the server started."""
    options: ModelOptions = field(default_factory=ModelOptions)
    """In effect, each with its value."""
    base: str = ""
    """The base that it was tuned from; empty for a model of the zoo."""
    traffic: Traffic = field(default_factory=Traffic)
    """Where calls that name no version go."""


@dataclass(frozen=True, slots=True)
class Unloaded:
    """How an unload ended."""

    status: ModelStatus
    held_bytes: int = 0
    """What the ledger had of the model; 0 where it was not loaded."""
    freed_bytes: int = 0
    """What came back: by the device's reading, or the model's weights where that could not be told."""
