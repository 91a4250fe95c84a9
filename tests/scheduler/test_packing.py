"""Rows of neighbouring length share a batch where that saves device time."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.scheduler.cost import Law
from service.scheduler.packing import best_window

STEEP = Law(0.001, 0.0, 0.001)
"""Padding by one costs as much as a batch."""
FLAT = Law(1.0, 0.001, 0.0)
"""Padding costs nothing."""
MIXED = Law(0.004, 0.0005, 0.00015)


def window(lengths: list[int], at: int, most: int, law: Law | None, **bounds: float) -> list[int]:
    low, high, longest = best_window([(length,) for length in lengths], at, most, law=law, **bounds)
    assert low <= at < high <= low + most
    assert longest == lengths[high - 1]
    return lengths[low:high]


def test_long_row_does_not_share_a_batch_with_short_ones() -> None:
    """A recording of ten minutes and seven of a second."""
    assert window([1] * 7 + [600], 7, 8, MIXED._replace(per_cell_s=0.1)) == [600]


def test_a_short_row_does_not_wait_for_the_end_of_a_long_one() -> None:
    assert window([1, 600], 0, 8, MIXED._replace(per_cell_s=0.1)) == [1]


def test_rows_share_a_batch_where_padding_costs_nothing() -> None:
    assert window([1, 10, 100, 1000], 1, 8, FLAT) == [1, 10, 100, 1000]


def test_only_equal_lengths_share_a_batch_where_padding_costs_much() -> None:
    assert window([9, 10, 10, 10, 11], 2, 8, STEEP) == [10, 10, 10]


def test_rows_of_similar_length_share_a_batch_before_the_cost_is_known() -> None:
    assert window([10, 30, 35, 40, 90], 3, 8, None) == [30, 35, 40]


def test_rows_of_equal_length_always_share_a_batch() -> None:
    for law in (None, STEEP, FLAT, MIXED):
        assert window([50] * 20, 3, 8, law)[0] == 50
        assert len(window([50] * 20, 3, 8, law)) == 8


def test_a_batch_that_must_be_quick_is_smaller_or_shorter() -> None:
    lengths = [10] * 4 + [12] * 4
    in_haste = window(lengths, 2, 8, MIXED, left_s=MIXED.seconds(4, 10) + 1e-9)
    assert in_haste == [10] * 4
    assert window(lengths, 2, 8, MIXED, left_s=MIXED.seconds(1, 10) + 1e-9) == [10]
    assert window(lengths, 2, 8, MIXED, left_s=0.0) == [10], "the row it is made for is in it in any case"


def test_memory_bounds_rows_times_length() -> None:
    assert len(window([10] * 8, 0, 8, FLAT, max_cells=45)) == 4
    assert window([10] * 4 + [100], 0, 8, FLAT, max_cells=45) == [10] * 4
    assert window([100], 0, 8, FLAT, max_cells=45) == [100]


def value(lengths: list[int], low: int, high: int, most: int, law: Law) -> float:
    """What a window saves: each row its part of a batch's fixed cost, less the padding."""
    rows = lengths[low:high]
    padding = len(rows) * max(rows) - sum(rows)
    return len(rows) * law.fixed_s / min(most, len(lengths)) - padding * law.per_cell_s


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=14), st.integers(0, 13), st.integers(1, 6), st.floats(0, 0.01))
def test_no_other_window_saves_more(lengths: list[int], at: int, most: int, fixed_s: float) -> None:
    lengths, at = sorted(lengths), at % len(lengths)
    law = Law(fixed_s, 0.001, 0.0002)
    low, high, _ = best_window([(length,) for length in lengths], at, most, law=law)
    best = max(
        value(lengths, i, j, most, law)
        for i, j in itertools.combinations(range(len(lengths) + 1), 2)
        if i <= at < j <= i + most
    )
    # Padding of a twentieth is always borne, so that much may be missed.
    assert value(lengths, low, high, most, law) >= best - 0.05 * lengths[at] * most * law.per_cell_s - 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_texts_of_different_lengths_take_little_padding(seed: int) -> None:
    rng = random.Random(seed)
    lengths = sorted(min(200, max(3, round(rng.lognormvariate(3.2, 0.9)))) for _ in range(256))
    padded = cells = 0
    while lengths:
        at = rng.randrange(len(lengths))
        low, high, longest = best_window([(length,) for length in lengths], at, 16, law=MIXED)
        padded += longest * (high - low) - sum(lengths[low:high])
        cells += longest * (high - low)
        del lengths[low:high]
    assert padded / cells <= 0.10
