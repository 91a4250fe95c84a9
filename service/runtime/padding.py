"""Padded lengths at which a network is fast.

On a CPU, torch's attention computes a row of scores one vector at a time, and the rest that does not fill a vector element by
element. A text whose length is a little below a multiple of the vector is therefore faster if it is padded to the multiple, as
far as attention dominates: in bf16 `all_minilm_l6_v2` takes 25 ms for 16 texts of 28 tokens, and 21 ms for 16 texts of 32. The
runtime benchmark (`tiering/runtime_benchmark.py`) measures whether a network gains by it.
"""

from __future__ import annotations

STEP = 16
"""Elements: 64 bytes of scores in fp32, one vector of AVX-512 or two of AVX2."""
MAX_ADDED = 4
"""Elements. More padding costs as much as it saves."""


LEAST = 2 * STEP - MAX_ADDED
"""Shorter rows are not padded: the share of the padding would be larger than in any benchmark."""


def padded_length(longest: int, most: int | None) -> int:
    """The length to which rows are padded if the longest is `longest`; `most` is the maximum of the network."""
    missing = -longest % STEP
    if longest < LEAST or missing > MAX_ADDED or (most is not None and longest + missing > most):
        return longest
    return longest + missing
