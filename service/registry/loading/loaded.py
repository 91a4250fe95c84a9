"""What a loader returns: networks and heads that are ready to serve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import GoldenItem
from service.engine.decisions import Decisions
from service.runtime.heads import PooledHead
from service.runtime.network import Runtime
from service.tasks.base import Task
from service.types import Tensors


def no_golden_items() -> Sequence[GoldenItem]:
    """A model of the zoo has golden cases on its card instead."""
    return ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network on its device, warmed up and checked."""

    task: Task
    runtime: Runtime
    load_s: float
    reference: Sequence[Tensors] | None = None
    """The answers to the probes in fp32, each alone: every other runtime is compared with them."""
    timings: Sequence[tuple[int, int, float]] = ()
    """Rows, length and seconds of batches of the warm-up: the first costs that are known."""
    golden: Callable[[], Sequence[GoldenItem]] = no_golden_items
    """Reads the golden items of a tuned version."""
    decisions: Decisions | None = None
    """How a tuned version decides in a reduced precision, against fp32."""
    note: str = ""
    """Why it runs otherwise than its options say; empty where it does not."""


@dataclass(frozen=True, slots=True)
class LoadedHead:
    """A head without the network of its base, and the items that it must answer correctly."""

    task: Task
    head: PooledHead
    golden: Sequence[GoldenItem]


class ModelLoader(Protocol):
    """Loads networks and heads for the registry."""

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        """Blocks until the card's network is ready to run, or raises NotReady. `precision` overrides the model's option."""

    def load_head(self, card: Card) -> LoadedHead:
        """Reads a version that was tuned by `head`, in milliseconds. Raises NotReady."""
