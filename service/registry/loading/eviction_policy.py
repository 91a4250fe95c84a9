"""Which loaded models are evicted so that another one fits into the memory budget: least recently used first, never a model that
is pinned or in use."""

from __future__ import annotations

from collections.abc import Iterable

from service.errors import MemoryFull
from service.registry.loading.memory_ledger import MIB, Holding, Ledger
from service.registry.model_version import ModelVersion
from service.registry.states import ModelState

BUSY_RETRY_S = 1.0
"""When to retry a load that has no memory only because other models are in use."""


def choose_victims(
    ledger: Ledger, version: ModelVersion, need: Holding, versions: Iterable[ModelVersion]
) -> list[ModelVersion]:
    """Models whose eviction frees the memory that `version` needs; empty where it fits already.

    Raises MemoryFull, with the figures, where evicting all candidates would not be enough.
    """
    # A head has no entry in the ledger: it is evicted with its base, and comes back with it.
    others = [v for v in versions if v.state is ModelState.READY and v is not version and not v.is_head]
    unpinned = sorted((v for v in others if not v.pinned), key=lambda v: v.last_used)
    idle = {v.key: v for v in unpinned if not v.in_use}
    chosen = ledger.to_evict(need, idle)
    if chosen is not None:
        return [idle[key] for key in chosen]
    pinned = [v.key for v in others if v.pinned]
    busy = [v.key for v in unpinned if v.in_use]
    staying = ledger.total_of([*pinned, *busy])
    why = "; ".join(f"{word}: {', '.join(names)}" for word, names in (("pinned", pinned), ("in use", busy)) if names)
    raise MemoryFull(
        f"{version.title} needs {ledger.added(need) / MIB:.1f} MiB of the memory budget of {ledger.budget / MIB:.0f} MiB, "
        f"of which {staying / MIB:.1f} MiB cannot be freed now" + (f" ({why})" if why else ""),
        retry_after_s=BUSY_RETRY_S if ledger.to_evict(need, [v.key for v in unpinned]) is not None else None,
    )
