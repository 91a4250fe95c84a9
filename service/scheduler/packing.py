"""Which rows of unlike lengths ride together: a window of neighbours in length around the row that must go.

Padding a row of length l to L costs `per_cell_s × (L - l)`; riding along saves it its part of the fixed cost of a batch that
it would otherwise need, `fixed_s ÷ m`, where m rows would share it. So a row joins where the padding costs less than that. A
window is the better, the more of fixed cost it saves beyond what its padding costs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from service.scheduler.cost import Law

UNKNOWN_TOLERANCE, LEAST_TOLERANCE = 0.25, 0.05
"""Padded share of a row that is borne while the cost is not known, and in any case: a law learned from rows that ride alone
cannot tell fixed cost from that of a row, and must see batches to learn better."""

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

    It holds at most `max_rows` rows and `max_cells` of rows × length, and takes at most `left_s` seconds by `law`; row `at` is
    in it in any case. O(max_rows · log max_rows).
    """
    start = max(0, at - max_rows + 1)
    lengths = [row[0] for row in rows[start : at + max_rows]]
    sums = [0, *accumulate(lengths)]
    me = at - start
    sharing = min(max_rows, len(rows))
    if law is None:
        saved = UNKNOWN_TOLERANCE * lengths[me]
    elif law.per_cell_s <= 0:
        saved = NO_LIMIT
    else:
        saved = max(LEAST_TOLERANCE * lengths[me], min(NO_LIMIT, law.fixed_s / sharing / law.per_cell_s))
    bounded = law is not None and left_s < float("inf")
    best, best_low, best_high = float("inf"), me, me + 1
    for top in range(me, len(lengths)):
        length = lengths[top]
        most = max_rows
        if max_cells < NO_LIMIT:
            most = min(most, int(max_cells // max(length, 1)))
        if bounded:
            assert law is not None
            most = min(most, law.most_rows(length, left_s))
        if top + 1 - most > me:  # the row itself would not fit, the less so beside longer ones
            break
        low = max(top + 1 - most, min(me, bisect_left(lengths, length - saved)))
        count = top + 1 - low
        excess = count * length - (sums[top + 1] - sums[low]) - count * saved
        if excess < best:
            best, best_low, best_high = excess, low, top + 1
    return start + best_low, start + best_high, lengths[best_high - 1]
