"""What the tiering needs of a compiler and of the lanes' processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from model_zoo.cards.card import Card
from service.runtime.network import Runtime


class CandidateRuntime(Protocol):
    """A compiled network."""

    @property
    def runtime(self) -> Runtime:
        """Ready to run."""

    @property
    def compile_s(self) -> float:
        """Seconds that compiling took, now or when the code was stored."""

    @property
    def cached(self) -> bool:
        """Whether the compiled code came from disk."""


class CandidateCompiler(Protocol):
    """Compiles networks."""

    def compile(self, card: Card, precision: str, before_load: Callable[[], object]) -> CandidateRuntime:
        """Blocks, maybe for minutes. `before_load` is called before the compiled code is loaded into this process. Raises
        CannotCompile."""

    def stop(self) -> None:
        """Ends a compilation that runs. From any thread."""


class ProcessHost(Protocol):
    """Runs eager networks in processes of their own."""

    @property
    def lanes(self) -> int:
        """How many processes."""

    def open(self, card: Card, precision: str) -> Runtime:
        """Blocks for seconds. Raises CannotMove."""
