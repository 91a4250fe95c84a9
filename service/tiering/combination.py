"""Whether two compiled networks are faster together: one for few rows, the other for many."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from service.engine.served_model import ServedModel
from service.runtime.network import Runtime
from service.tiering.runtime_benchmark import Pause, benchmark_items, median_seconds

GAIN = 1.02
"""From the number of rows on from which a network is faster by so much at every size, it runs the batches."""


def split_by_rows(
    served: ServedModel, one: Runtime, other: Runtime, clock: Callable[[], float], pause: Pause
) -> tuple[bool, int] | None:
    """Times both at numbers of rows that are powers of two, and at the limit. Returns whether `one` runs the few rows, and the
    number of rows from which the other runs them; None where one of them is as fast at every size."""
    items = benchmark_items(served)
    most = served.limits.max_batch_size
    sizes = sorted({most, *(1 << n for n in range(most.bit_length()))})
    ratios = []
    for rows in sizes:
        batch = served.task.collate([items[i % len(items)] for i in range(rows)])[0]
        one_s, other_s = median_seconds([(one, batch), (other, batch)], clock, pause)
        ratios.append(one_s / other_s)
    if from_rows := _from_rows(sizes, ratios):
        return True, from_rows
    if from_rows := _from_rows(sizes, [1.0 / ratio for ratio in ratios]):
        return False, from_rows
    return None


def _from_rows(sizes: Sequence[int], ratios: Sequence[float]) -> int:
    """The least size above the first from which all ratios are a gain; 0 where there is none, or where all are."""
    first = len(sizes)
    while first and ratios[first - 1] >= GAIN:
        first -= 1
    return sizes[first] if 0 < first < len(sizes) else 0
