"""The two stages: the box that the first network gives, and the mask of the second one inside it."""

from __future__ import annotations

import numpy as np
import torch

from model_zoo.architectures.volume.brain_extractor import BrainExtractor, box_around, largest_component


def test_mask_lies_in_the_box_that_the_first_network_gives() -> None:
    torch.manual_seed(0)
    network = BrainExtractor(widths=(4, 4, 4, 4), locator_side=32, segmenter_side=64).eval()
    bright = torch.zeros(32, 32, 32)
    bright[8:24, 4:28, 10:22] = 1.0
    network.locator.forward = lambda volume: bright[None]  # type: ignore[method-assign]
    volume = torch.rand(2, 1, 40, 32, 24)
    with torch.inference_mode():
        mask, box = network(volume)
    # 16 of 32 voxels around the 16th, with a tenth more on each side: 19.2 of 32, so 24 of 40.
    assert box.tolist() == [[8, 32, 1, 30, 6, 17]] * 2
    assert mask.shape == (2, 40, 32, 24)
    assert (mask[:, 8:32, 1:30, 6:17] > 0).all()
    mask = mask.clone()
    mask[:, 8:32, 1:30, 6:17] = 0
    assert not mask.any()


def test_volume_without_contrast_or_object_gives_zeros() -> None:
    network = BrainExtractor(widths=(4, 4, 4, 4), locator_side=32, segmenter_side=64).eval()
    network.locator.forward = lambda volume: torch.zeros(1, 32, 32, 32)  # type: ignore[method-assign]
    for volume in (torch.ones(1, 1, 20, 20, 20), torch.rand(1, 1, 20, 20, 20)):
        with torch.inference_mode():
            mask, box = network(volume)
        assert not mask.any()
        assert box.tolist() == [[0] * 6]


def test_largest_component_joins_voxels_at_their_corners() -> None:
    mask = np.zeros((5, 5, 5), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = True
    mask[4, 4, 0] = mask[4, 3, 0] = True
    found = largest_component(mask)
    assert np.argwhere(found).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]
    assert not largest_component(np.zeros((3, 3, 3), bool)).any()


def test_box_of_an_object_at_the_edge_stays_inside_the_volume() -> None:
    mask = np.zeros((10, 10, 10), bool)
    mask[5:, :, :5] = True
    assert box_around(mask, (20, 30, 40)) == (slice(9, 20), slice(0, 30), slice(0, 22))
    assert box_around(np.zeros((4, 4, 4), bool), (8, 8, 8)) is None
