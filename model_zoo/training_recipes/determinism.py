"""The same data and the same seed give the same weights on the same machine."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["repeatable"]


@contextmanager
def repeatable(seed: int = 0) -> Iterator[None]:
    """Runs a block in one thread, with deterministic algorithms and a seeded generator of torch, and restores all
    three.

    Sums of several threads depend on their number; another processor may still add in another order.
    """
    threads, deterministic, state = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state(),
    )
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_rng_state(state)
