"""Who must go so that a model finds room in the memory budget: used longest ago first, never who is pinned or in use."""

from __future__ import annotations

from collections.abc import Iterable

from service.errors import MemoryFull
from service.registry.loading.memory_ledger import MIB, Holding, Ledger
from service.registry.model_version import ModelVersion
from service.registry.states import ModelState

BUSY_RETRY_S = 1.0
"""When to try again a load that has no room only because others are in use."""


def to_evict(ledger: Ledger, entry: ModelVersion, need: Holding, entries: Iterable[ModelVersion]) -> list[ModelVersion]:
    """Models whose unloading makes room for what `entry` needs; none where it fits as it is.

    Raises MemoryFull, with the figures, where even all that may go would not do.
    """
    # A head has no line of its own: it goes with its base, and comes back with it.
    others = [e for e in entries if e.state is ModelState.READY and e is not entry and not e.is_head]
    unpinned = sorted((e for e in others if not e.pinned), key=lambda e: e.last_used)
    idle = {e.key: e for e in unpinned if not e.in_use}
    chosen = ledger.to_evict(need, idle)
    if chosen is not None:
        return [idle[key] for key in chosen]
    pinned = [e.key for e in others if e.pinned]
    busy = [e.key for e in unpinned if e.in_use]
    kept = ledger.total_of([*pinned, *busy])
    why = "; ".join(f"{word}: {', '.join(names)}" for word, names in (("pinned", pinned), ("in use", busy)) if names)
    raise MemoryFull(
        f"{entry.title} needs {ledger.added(need) / MIB:.1f} MiB of the memory budget of {ledger.budget / MIB:.0f} MiB, of which "
        f"{kept / MIB:.1f} MiB cannot be freed now" + (f" ({why})" if why else ""),
        retry_after_s=BUSY_RETRY_S if ledger.to_evict(need, [e.key for e in unpinned]) is not None else None,
    )
