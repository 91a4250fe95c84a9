"""Whether one runtime is faster than another that gives the same answers: both are timed alternately."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace

from service.engine.served_model import ServedModel
from service.engine.tier_report import TierReport
from service.observability.log import logger
from service.runtime.network import Runtime
from service.runtime.padding import MAX_ADDED, STEP, padded_length
from service.tasks.base import Task
from service.types import Item, Tensors
from service.verification.golden_check import items_of
from service.verification.probes import probe_items

log = logger(__name__)

MIN_GAIN = 1.05
"""Least geometric mean of the speed-ups at one row and at full batch for which a swap is worth its memory and its risk. Batches
of every size in between run as well, and on a busy machine one of the two is easily mistimed."""
MIN_SPEEDUP = 0.9
"""Least speed-up of each of the two: neither single rows nor full batches pay for the other."""
TIMED_S, MIN_TURNS, MAX_TURNS = 1.0, 3, 15
"""About how long one comparison of two runtimes may take, and the bounds of its turns."""

Pause = Callable[[float], None]
Timings = Sequence[tuple[int, int, float]]
"""Rows, length and seconds of batches."""


def benchmark(
    served: ServedModel,
    before: Runtime,
    after: Runtime,
    report: TierReport,
    clock: Callable[[], float],
    pause: Pause = lambda seconds: None,
) -> tuple[TierReport, Timings]:
    """Adds the rates at full batch and for one row to the report, and a reason if they do not gain. Also returns the timings.

    `pause` is called after each batch with its seconds.
    """
    items = benchmark_items(served)
    rows = served.limits.max_batch_size
    full = [items[i % len(items)] for i in range(rows)]
    one, together = served.task.collate(items[:1])[0], served.task.collate(full)[0]
    one_before, one_after = median_seconds([(before, one), (after, one)], clock, pause)
    full_before, full_after = median_seconds([(before, together), (after, together)], clock, pause)
    speedup, single = full_before / full_after, one_before / one_after
    slow = (
        f"it is {speedup:.3g} times as fast at {rows} rows and {single:.3g} times at one;"
        f" expected at least {MIN_GAIN:g} in the mean and {MIN_SPEEDUP:g} at both"
    )
    gains = math.sqrt(speedup * single) >= MIN_GAIN and min(speedup, single) >= MIN_SPEEDUP
    timings = (1, items[0].length, one_after), (rows, max(item.length for item in full), full_after)
    measured = replace(
        report,
        speedup=speedup,
        single_speedup=single,
        rows_per_s=rows / full_after,
        rows_per_s_before=rows / full_before,
        reason="" if gains else slow,
        length_step=STEP if gains and _padding_gains(served.task, after, full, clock, pause) else 0,
    )
    return measured, timings


def benchmark_items(served: ServedModel) -> list[Item]:
    """The golden inputs of a model, as far as they can be one batch."""
    golden = items_of(served.card, served.golden())
    items = probe_items(served.task, golden)[: len(golden) or len(served.card.golden)]
    return [items[i] for i in served.task.groups(items)[0]]


def padding_gains(
    task: Task,
    runtime: Runtime,
    items: Sequence[Item],
    clock: Callable[[], float],
    pause: Pause = lambda seconds: None,
) -> bool:
    """Whether a full batch is faster when it is padded up by `padded_length`, at the most that this adds, and a single row about
    as fast."""
    longest = max(STEP, *(item.length for item in items))
    whole = longest + MAX_ADDED + -(longest + MAX_ADDED) % STEP
    length = whole - MAX_ADDED
    as_it_is, padded = (task.collate(items, to)[0] for to in (length, whole))
    alone, alone_padded = (task.collate(items[:1], to)[0] for to in (length, whole))
    most = task.card.batching.max_length
    if padded_length(length, most) == length or all(as_it_is[name].shape == padded[name].shape for name in padded):
        return False  # too long for this network, or it has no variable length
    before, after = median_seconds([(runtime, as_it_is), (runtime, padded)], clock, pause)
    if before / after < MIN_GAIN:
        return False
    before, after = median_seconds([(runtime, alone), (runtime, alone_padded)], clock, pause)
    return before / after >= MIN_SPEEDUP


def _padding_gains(
    task: Task,
    runtime: Runtime,
    items: Sequence[Item],
    clock: Callable[[], float],
    pause: Pause = lambda seconds: None,
) -> bool:
    """As `padding_gains`, but False where it fails, as for a batch that is too large: the network is faster all the same."""
    try:
        return padding_gains(task, runtime, items, clock, pause)
    except Exception:
        log.warning("the gain of padding could not be timed", model=task.card.name, exc_info=True)
        return False


def median_seconds(
    batches: Sequence[tuple[Runtime, Tensors]], clock: Callable[[], float], pause: Pause = lambda seconds: None
) -> list[float]:
    """Median seconds of each batch in its runtime. Runtimes take turns, so that other load of the machine affects all equally."""
    took: list[list[float]] = [[] for _ in batches]
    first = 0.0
    for runtime, tensors in batches:  # the first run allocates
        start = clock()
        runtime.run(tensors)
        first += clock() - start
        pause(clock() - start)
    turns = int(TIMED_S / max(first, 1e-6))
    for _ in range(min(max(turns, MIN_TURNS), MAX_TURNS)):
        for (runtime, tensors), seconds in zip(batches, took, strict=True):
            start = clock()
            runtime.run(tensors)
            seconds.append(clock() - start)
            pause(seconds[-1])
    return [max(statistics.median(seconds), 1e-9) for seconds in took]
