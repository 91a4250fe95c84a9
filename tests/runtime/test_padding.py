"""Lengths from 28 on, a little below a multiple of sixteen, are padded to it; others are not."""

import pytest

from service.runtime.padding import MAX_ADDED, STEP, padded_length


@pytest.mark.parametrize("most", [None, 256])
@pytest.mark.parametrize(
    ("longest", "padded"),
    [(1, 1), (12, 12), (15, 15), (27, 27), (28, 32), (29, 32), (31, 32), (32, 32), (33, 33), (253, 256)],
)
def test_padded_length_adds_few_elements(longest: int, padded: int, most: int | None) -> None:
    assert padded_length(longest, most) == padded


def test_padded_length_stays_within_the_maximum() -> None:
    for most in range(1, 4 * STEP):
        for longest in range(1, most + 1):
            assert longest <= padded_length(longest, most) <= min(most, longest + MAX_ADDED)
