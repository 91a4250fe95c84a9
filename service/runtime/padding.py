"""Lengths that a network is quick at.

torch's attention on a CPU computes a row of scores a vector at a time, and what fills no whole vector element by element. So
a text whose length is a little below a multiple of the vector's is quicker padded up to there, where attention counts for
much: in bf16 `all_minilm_l6_v2` takes 16 texts of 28 tokens in 25 ms, and of 32 in 21. Whether that holds for a network
is measured when it is timed (`tiering/runtime_benchmark.py`).
"""

from __future__ import annotations

STEP = 16
"""Elements: 64 bytes of scores in fp32, which is what AVX-512 takes at once and AVX2 in two."""
MAX_ADDED = 4
"""Elements. Beyond, the padding costs as much as it saves."""


LEAST = 2 * STEP - MAX_ADDED
"""Shorter rows stay as they are: of those the padding would be a larger part than of any that was timed."""


def padded_length(longest: int, most: int | None) -> int:
    """What rows of which the longest is `longest` are best padded to; `most` is what the network takes."""
    missing = -longest % STEP
    if longest < LEAST or missing > MAX_ADDED or (most is not None and longest + missing > most):
        return longest
    return longest + missing
