"""What there is to say of a model to whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from model_zoo.card import Card
from service.registry.evidence import Evidence
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
    evidence: Evidence | None = None


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


@dataclass(frozen=True, slots=True)
class Unloaded:
    """How an unload ended."""

    status: ModelStatus
    held_bytes: int = 0
    """What the ledger had of the model; 0 where it was not loaded."""
    freed_bytes: int = 0
    """What came back: by the device's reading, or the model's weights where that could not be told."""
