"""Determinism: the same data and the same seed give the same result on the same machine. Seeds, and states of generators."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

LENGTH_POOL_BATCHES = 16
"""Rows are sorted by length within pools of so many batches."""


def make_deterministic(threads: int, seed: int) -> None:
    """Sets threads, seeds and deterministic algorithms of the whole process. Call it once, before the first tensor is made."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be deterministic
    torch.set_num_threads(max(1, threads))
    torch.use_deterministic_algorithms(True)
    # Deterministic mode also fills every new tensor with NaN, to find tensors that are read before they are written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)
    seed_all(seed)


def seed_all(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def mix_seeds(*parts: int) -> int:
    """One seed of 63 bits from several numbers. Similar numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def isolated_generators(seed: int) -> Iterator[None]:
    """Seeds the global generators for the block and restores them afterwards: no example depends on another."""
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_all(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


def generator_states() -> dict[str, Tensor]:
    """The states of all generators, as tensors for a checkpoint."""
    kind, keys, position, gauss, cached = np.random.get_state()
    assert kind == "MT19937"
    version, words, next_gauss = random.getstate()
    assert version == 3
    states = {
        "torch": torch.get_rng_state(),
        "numpy": torch.from_numpy(np.asarray(keys, np.int64).copy()),
        "numpy_rest": torch.tensor([position, gauss, cached], dtype=torch.float64),
        "python": torch.tensor(words, dtype=torch.int64),
        "python_gauss": torch.tensor([] if next_gauss is None else [next_gauss], dtype=torch.float64),
    }
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_generators(states: dict[str, Tensor]) -> None:
    """Restores all generators to the states that `generator_states` returned."""
    torch.set_rng_state(states["torch"])
    position, gauss, cached = states["numpy_rest"].tolist()
    keys = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(gauss), cached))
    next_gauss = states["python_gauss"].tolist()
    random.setstate((3, tuple(states["python"].tolist()), next_gauss[0] if next_gauss else None))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def batch_order(
    count: int, batch_size: int, seed: int, epoch: int, lengths: Sequence[int] | None = None
) -> list[list[int]]:
    """The batches of an epoch, as positions 0..count-1. The arguments alone decide them.

    Rows with `lengths` are shuffled, sorted by length within pools of 16 batches, and the batches are shuffled: batches need
    little padding, and a row's neighbours still differ from epoch to epoch. A single row left over is added to the batch before
    it: a batch norm cannot learn from one row.
    """
    generator = np.random.default_rng(mix_seeds(seed, epoch))
    order = generator.permutation(count).tolist()
    if lengths is not None:
        pool = LENGTH_POOL_BATCHES * batch_size
        order = [i for at in range(0, count, pool) for i in sorted(order[at : at + pool], key=lambda j: lengths[j])]
    batches = [order[at : at + batch_size] for at in range(0, count, batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    if lengths is not None:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches
