"""Which rows of different lengths share a batch: a window of neighbours in length around the row that must run.

Padding a row of length l to L costs `per_cell_s × (L - l)`. A row that joins saves its part of the fixed cost of the batch that
it would otherwise need, `fixed_s ÷ m`, where m rows would share that batch. So a row joins where its padding costs less. The
best window saves the most fixed cost beyond the cost of its padding.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from service.scheduler.cost import Law

UNKNOWN_TOLERANCE, LEAST_TOLERANCE = 0.25, 0.05
"""Padded share of a row that is accepted while the cost is not known, and the least that is accepted in any case: a law learned
from batches of one row cannot tell fixed cost from the cost of a row, and needs larger batches to learn better."""

NO_LIMIT = 1e15


def best_window(
    rows: Sequence[tuple[int, *tuple[Any, ...]]],
    at: int,
    max_rows: int,
    max_cells: float = float("inf"),
    law: Law | None = None,
    left_s: float = float("inf"),
) -> tuple[int, int, int]:
    """The window `[low, high)` of `rows` (each begins with its length; sorted) around row `at`, and its greatest length.

    The window has at most `max_rows` rows and `max_cells` of rows × length, and takes at most `left_s` seconds by `law`; row `at`
    is in it in any case. O(max_rows · log max_rows).
    """
    start = max(0, at - max_rows + 1)
    lengths = [row[0] for row in rows[start : at + max_rows]]
    sums = [0, *accumulate(lengths)]
    own = at - start
    sharing = min(max_rows, len(rows))
    if law is None:
        saved = UNKNOWN_TOLERANCE * lengths[own]
    elif law.per_cell_s <= 0:
        saved = NO_LIMIT
    else:
        saved = max(LEAST_TOLERANCE * lengths[own], min(NO_LIMIT, law.fixed_s / sharing / law.per_cell_s))
    bounded = law is not None and left_s < float("inf")
    best, best_low, best_high = float("inf"), own, own + 1
    for top in range(own, len(lengths)):
        length = lengths[top]
        most = max_rows
        if max_cells < NO_LIMIT:
            most = min(most, int(max_cells // max(length, 1)))
        if bounded:
            assert law is not None
            most = min(most, law.most_rows(length, left_s))
        if top + 1 - most > own:  # row `at` itself would not fit, and fits even less beside longer rows
            break
        low = max(top + 1 - most, min(own, bisect_left(lengths, length - saved)))
        count = top + 1 - low
        excess = count * length - (sums[top + 1] - sums[low]) - count * saved
        if excess < best:
            best, best_low, best_high = excess, low, top + 1
    return start + best_low, start + best_high, lengths[best_high - 1]
