"""What the tiering needs of a compiler and of the lanes' processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from model_zoo.cards.card import Card
from service.runtime.network import Runtime
from service.types import Tensors


class Prepared(Protocol):
    """A compiled network that is not loaded yet."""

    @property
    def compile_s(self) -> float:
        """Seconds that compiling took, now or when the code was stored."""

    @property
    def cached(self) -> bool:
        """Whether the compiled code came from disk."""

    def load(self) -> Runtime:
        """Loads it into this process. Raises CannotCompile."""

    def trial(self) -> AbstractContextManager[None]:
        """Around the load and the check, so that a network that ends the server is refused later. Raises CannotCompile."""

    def evidence(self) -> dict[str, Any] | None:
        """Its stored measurements; None where nothing can be trusted."""

    def store_evidence(self, body: dict[str, Any]) -> None:
        """Stores measurements beside it."""


class CandidateCompiler(Protocol):
    """Compiles networks."""

    @property
    def compilers(self) -> Sequence[str]:
        """Names of the compilers, in the order in which they are tried: quick ones first."""

    def expect(self) -> None:
        """Says that a network will be compiled soon. Does not block; on the event loop."""

    def compile(
        self, card: Card, precision: str, compiler: str, calibration: Callable[[], Sequence[Tensors]]
    ) -> Prepared:
        """Blocks, maybe for minutes. `calibration` gives batches by which a network becomes int8. Raises CannotCompile."""

    def stop(self) -> None:
        """Ends a compilation that runs. From any thread."""


class ProcessHost(Protocol):
    """Runs eager networks in processes of their own."""

    @property
    def lanes(self) -> int:
        """How many processes."""

    def open(self, card: Card, precision: str) -> Runtime:
        """Blocks for seconds. Raises CannotMove."""
