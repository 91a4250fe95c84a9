"""The metrics of a simulated run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.simulation.engine import ANSWERED, DROPPED, REFUSED, Run
from benchmarks.simulation.profiles import Network

Figures = dict[str, Any]


def figures(
    run: Run, networks: Sequence[Network], lanes: int, weights: Sequence[float], offered: Sequence[float]
) -> Figures:
    """The metrics of one contender under one load. `offered`: the work that arrives for each network, in lanes.

    goodput: device time of the rows answered by their deadline, at the cost in the best batches, ÷ all device time. With one
    network and one length this is answers in time a second ÷ capacity.
    """
    tallies, device_s = run.tallies, lanes * run.seconds
    latencies = np.concatenate(
        [np.frombuffer(tally.latencies_s) for tally in tallies if tally.latencies_s] or [np.empty(0)]
    )
    fates = {fate: sum(tally.fates[fate] for tally in tallies) for fate in (ANSWERED, REFUSED, DROPPED)}
    batches, rows = sum(tally.batches for tally in tallies), sum(tally.rows for tally in tallies)
    in_time = sum(tally.in_time for tally in tallies)
    found: Figures = {
        "goodput": sum(tally.in_time_s for tally in tallies) / device_s,
        "in_time_s": in_time / run.seconds,
        "in_time_share": in_time / max(1, run.ended),
        **fates,
        "late": sum(tally.late for tally in tallies),
        "p50_s": _quantile(latencies, 0.50),
        "p99_s": _quantile(latencies, 0.99),
        "rows_a_batch": rows / max(1, batches),
        "padding_ratio": sum(tally.padded for tally in tallies) / max(1, sum(tally.cells for tally in tallies)),
        "idle_s": run.idle_s,
    }
    if len(networks) > 1:
        fair = fair_shares(offered, weights, float(lanes))
        got = [tally.in_time_s / run.seconds for tally in tallies]
        to_fair = {n.name: g / f for n, g, f in zip(networks, got, fair, strict=True)}
        found["to_fair_share"] = to_fair
        found["least_to_fair_share"] = min(to_fair.values())
    return found


def fair_shares(offered: Sequence[float], weights: Sequence[float], capacity: float) -> list[float]:
    """Weighted max-min fairness: shares by weight, none above the offered load; the rest goes to the others."""
    shares = [0.0 for _ in offered]
    open_to = {index for index, load in enumerate(offered) if load > 0}
    while open_to and capacity > 1e-12:
        unit = capacity / sum(weights[index] for index in open_to)
        filled = {index for index in open_to if offered[index] <= unit * weights[index] * (1 + 1e-12)}
        for index in filled or open_to:
            shares[index] = offered[index] if filled else unit * weights[index]
            capacity -= shares[index]
        open_to = open_to - filled if filled else set()
    return shares


def _quantile(values: np.ndarray[Any, np.dtype[np.float64]], at: float) -> float | None:
    return float(np.quantile(values, at)) if len(values) else None
