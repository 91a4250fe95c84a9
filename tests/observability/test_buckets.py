"""Fine buckets add up to the classic and to the native ones."""

from __future__ import annotations

import math
import random
from bisect import bisect_left

import pytest

from service.observability.buckets import SCHEMA, Buckets
from service.observability.metric_definitions import RATIO, ROWS, SECONDS

ALL = pytest.mark.parametrize("buckets", [SECONDS, ROWS, RATIO], ids=["seconds", "rows", "ratio"])


def counted(buckets: Buckets, values: list[float]) -> list[int]:
    counts = [0] * (len(buckets.fine) + 1)
    for value in values:
        counts[bisect_left(buckets.fine, value)] += 1
    return counts


def some_values(buckets: Buckets) -> list[float]:
    """Random values, every bound, and values beside each bound."""
    rng = random.Random(3)
    bounds = [bound for bound in buckets.fine if bound > 0]
    beside = [math.nextafter(bound, direction) for bound in bounds for direction in (0.0, math.inf)]
    spread = [math.exp(rng.uniform(math.log(bounds[0]) - 2, math.log(bounds[-1]) + 2)) for _ in range(500)]
    return [0.0, *bounds, *beside, *spread, math.inf]


@ALL
def test_value_is_in_every_classic_bucket_whose_bound_it_does_not_exceed(buckets: Buckets) -> None:
    values = some_values(buckets)
    expected = [sum(value <= bound for value in values) for bound in (*buckets.classic, math.inf)]
    assert buckets.cumulative(counted(buckets, values)) == expected


@ALL
def test_value_is_in_the_native_bucket_of_the_definition(buckets: Buckets) -> None:
    """Bucket `i` of a schema is `(2^((i-1) · 2^-schema), 2^(i · 2^-schema)]`; the last one also takes what is above."""
    top = buckets.largest * 2**SCHEMA + 1
    values = some_values(buckets)
    expected: dict[int, int] = {}
    zeros = 0
    for value in values:
        if value <= 2.0**buckets.smallest:
            zeros += 1
            continue
        near = top if math.isinf(value) else math.ceil(math.log2(value) * 2**SCHEMA)
        # The logarithm is rounded; the bounds decide.
        index = next(i for i in (near - 1, near, near + 1) if value <= 2.0 ** ((i + 0.0) / 2**SCHEMA) or i >= top)
        expected[min(index, top)] = expected.get(min(index, top), 0) + 1
    native = buckets.native(counted(buckets, values))
    assert native.zero_threshold == 2.0**buckets.smallest
    assert native.zero_count == zeros
    assert dict(native.counts) == expected
    assert [index for index, _ in native.counts] == sorted(expected)


def test_empty_histogram_has_no_native_bucket() -> None:
    assert SECONDS.native(counted(SECONDS, [])).counts == ()
