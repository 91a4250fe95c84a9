"""Same data, same seed, same machine: same result. Where chance comes from, and how it is kept apart."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def settle(threads: int, seed: int) -> None:
    """Threads, seeds and deterministic algorithms of the whole process. Once, before the first tensor."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it, to be deterministic
    torch.set_num_threads(max(1, threads))
    torch.use_deterministic_algorithms(True)
    # That would also fill every new tensor with NaN before it is written, to find those that are read too early.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(True)
    seed_all(seed)


def seed_all(seed: int) -> None:
    """Python's, NumPy's and torch's own generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def mixed(*parts: int) -> int:
    """One seed from several numbers, 63 bits; near ones give unlike seeds."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Chance inside is from `seed`, and leaves no trace outside: what an example looks like depends on nobody else."""
    python, numpy, own = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seed_all(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(own)


def chance() -> dict[str, Tensor]:
    """The states of all generators, as tensors that a checkpoint can hold."""
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


def restore_chance(states: dict[str, Tensor]) -> None:
    """Puts all generators where `chance` found them."""
    torch.set_rng_state(states["torch"])
    position, gauss, cached = states["numpy_rest"].tolist()
    keys = states["numpy"].numpy().astype(np.uint32)
    np.random.set_state(("MT19937", keys, int(position), int(gauss), cached))
    rest = states["python_gauss"].tolist()
    random.setstate((3, tuple(states["python"].tolist()), rest[0] if rest else None))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def order_of(
    count: int, batch_size: int, seed: int, epoch: int, lengths: Sequence[int] | None = None
) -> list[list[int]]:
    """The batches of an epoch, as positions 0..count-1; nothing but the arguments decides on them.

    Rows of unlike `lengths` are shuffled, sorted within pools of 16 batches, and the batches are shuffled: a batch is then
    padded little, and its neighbours still differ from epoch to epoch. A single row that would be left over rides with the
    batch before it: no batch norm can learn from one.
    """
    generator = np.random.default_rng(mixed(seed, epoch))
    order = generator.permutation(count).tolist()
    if lengths is not None:
        pool = 16 * batch_size
        order = [i for at in range(0, count, pool) for i in sorted(order[at : at + pool], key=lambda j: lengths[j])]
    batches = [order[at : at + batch_size] for at in range(0, count, batch_size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [batches[-2] + batches[-1]]
    if lengths is not None:
        batches = [batches[i] for i in generator.permutation(len(batches))]
    return batches
