"""Random generators are restored exactly, and seed and epoch decide the batches."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch

from service.training.data.seeds import (
    batch_order,
    generator_states,
    isolated_generators,
    restore_generators,
    seed_all,
)

SEED = 3


def test_every_generator_is_restored() -> None:
    import random

    seed_all(1)
    random.gauss(0, 1)  # keeps its second number for the next call
    np.random.standard_normal()
    states = generator_states()
    first = random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item(), random.random()
    seed_all(2)
    restore_generators(states)
    assert (random.gauss(0, 1), np.random.standard_normal(), torch.rand(1).item(), random.random()) == first


def test_isolated_generators_are_restored_afterwards() -> None:
    seed_all(1)
    expected = torch.rand(3)
    seed_all(1)
    with isolated_generators(7):
        inside = torch.rand(2)
    assert torch.equal(torch.rand(3), expected)
    with isolated_generators(7):
        assert torch.equal(torch.rand(2), inside)


def test_epoch_has_every_example_once_and_next_epoch_another_order() -> None:
    first, second = batch_order(33, 8, SEED, 0), batch_order(33, 8, SEED, 1)
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(33))
    assert first != second
    assert batch_order(33, 8, SEED, 0) == first
    assert [len(batch) for batch in first] == [8, 8, 8, 9], "nothing can be normalised over a batch of one"


def test_rows_of_similar_length_share_a_batch() -> None:
    lengths = np.random.default_rng(0).integers(5, 200, 256).tolist()
    batches = batch_order(256, 8, SEED, 0, lengths)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in batches)
    plain = sum(max(lengths[i] for i in batch) * len(batch) for batch in batch_order(256, 8, SEED, 0))
    assert padded < 0.75 * plain
