"""The time from READY to the fast tier on an idle server: at the first start of a home, and at the next one.

The home of the measurement is new and has only the weights, as links to those of the home of the run. The server's own log has
both times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measurement.plan import Plan
from benchmarks.measurement.testbed import console, start_sentinel
from benchmarks.participants.process import ParticipantFailed
from benchmarks.participants.zoo import Zoo, new_home

MODELS = ("efficientnet_lite0", "all_minilm_l6_v2")
WAIT_S = 300.0
STARTS = ("first", "next")
READY, FASTER = "ready", "a faster network serves"


def measure_starts(plan: Plan) -> dict[str, Any]:
    """Seconds from READY to the fast tier by model and start; `reason` where no tier was faster."""
    console.print("[bold]starts[/]")
    found: dict[str, Any] = {"absent": {}, "models": {}}
    if not plan.admits("zoo"):
        return found
    with ExitStack() as stack:
        sentinel = start_sentinel(stack, plan)
        for model in MODELS:
            try:
                found["models"][model] = sentinel.guard(partial(_both_starts, model, plan))
            except ParticipantFailed as error:
                found["absent"][f"zoo with {model}"] = str(error)
                continue
            shown = ", ".join(f"{start} {found['models'][model][start]['fast_s']} s" for start in STARTS)
            console.print(f"  {model}: {shown}")
        found["sentinel"] = sentinel.record()
    return found


def _both_starts(model: str, plan: Plan) -> dict[str, Any]:
    with new_home(plan.home) as home:
        return {start: _start(model, Path(home), plan) for start in STARTS}


def _start(model: str, home: Path, plan: Plan) -> dict[str, Any]:
    with Zoo("zoo", [model], home, {}) as server:
        tiers = server.settle(20.0 if plan.quick else WAIT_S)[model]
        events = server.log_events()
    return {"fast_s": seconds_to_fast_tier(events), **{key: tiers[key] for key in ("tier", "note") if key in tiers}}


def seconds_to_fast_tier(events: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds from READY until the first faster network serves, by the server's log: 0 if it served before, None if none did."""
    times = {
        event: datetime.fromisoformat(str(one["timestamp"]))
        for one in reversed(events)  # the first of several is kept
        if (event := one.get("event")) in (READY, FASTER)
    }
    if set(times) != {READY, FASTER}:
        return None
    return max(0.0, (times[FASTER] - times[READY]).total_seconds())
