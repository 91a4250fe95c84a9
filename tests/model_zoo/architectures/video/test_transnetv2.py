"""The detector of cuts with random weights: rows of a batch, its comparisons with neighbours, and export for compilers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from model_zoo.architectures.video.transnetv2 import TransNetV2, _beside_neighbours


@pytest.fixture
def network() -> TransNetV2:
    torch.manual_seed(3)
    return TransNetV2(filters=2, width=8, compared=4, height=8, frame_width=16).eval().requires_grad_(False)


def windows(rows: int) -> torch.Tensor:
    made = torch.randint(0, 256, (rows, 60, 8, 16, 3), generator=torch.Generator().manual_seed(1))
    return made.to(torch.uint8)


def test_row_answers_alone_as_in_a_batch_for_the_frames_in_the_middle(network: TransNetV2) -> None:
    given = windows(3)
    together = network(given)
    for i in range(3):
        for whole, alone in zip(together, network(given[i : i + 1]), strict=True):
            assert alone.shape == (1, 60 - 2 * 25)
            torch.testing.assert_close(whole[i : i + 1], alone, atol=1e-5, rtol=0)


def test_frame_is_compared_with_fifty_neighbours_on_each_side() -> None:
    vectors = functional.normalize(torch.randn(2, 70, 5, generator=torch.Generator().manual_seed(0)), dim=2)
    found = _beside_neighbours(vectors)
    assert found.shape == (2, 70, 101)
    torch.testing.assert_close(found[:, :, 50], torch.ones(2, 70))
    torch.testing.assert_close(found[1, 10, 50 + 7], vectors[1, 10] @ vectors[1, 17])
    assert not found[:, 10, : 50 - 10].any(), "nothing is before the first frame"


def test_network_is_exported_with_batches_of_varying_shape(network: TransNetV2) -> None:
    rows = torch.export.Dim("rows", min=1, max=8)
    program = torch.export.export(network, (windows(3),), dynamic_shapes=({0: rows},))
    torch.testing.assert_close(program.module()(windows(2)), network(windows(2)))
