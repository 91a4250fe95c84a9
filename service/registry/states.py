"""The states of a model, and the moves between them.

UNAVAILABLE ──load──► LOADING ──► READY ──unload──► UNLOADING ──► UNAVAILABLE
                         └── failed, with a reason ──────────────────▲
"""

from __future__ import annotations

import enum
from collections.abc import Mapping

from service.errors import IllegalMove


class ModelState(enum.StrEnum):
    """A model's state, as clients see it. A model that was never loaded is UNAVAILABLE, and the reason says so."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


MOVES: Mapping[ModelState, frozenset[ModelState]] = {
    ModelState.UNAVAILABLE: frozenset({ModelState.LOADING}),
    ModelState.LOADING: frozenset({ModelState.READY, ModelState.UNAVAILABLE}),
    ModelState.READY: frozenset({ModelState.UNLOADING}),
    ModelState.UNLOADING: frozenset({ModelState.UNAVAILABLE}),
}


def check_move(model: str, old: ModelState, new: ModelState) -> None:
    """Raises IllegalMove unless MOVES has `old` → `new`."""
    if new not in MOVES[old]:
        raise IllegalMove(f"model {model!r} is {old} and cannot become {new}")
