"""Masks as targets: numbers of a file become classes, and pixels of a class are counted by what they were found as."""

from pathlib import Path

import numpy as np

from service.training.data.regions.masks import NO_CLASS, confusion, mask_of, mask_targets, renumbered
from tests.support.datasets.dataset_files import read
from tests.support.training.small_encoder import masked_shapes


def test_numbers_without_a_class_are_not_learned_from() -> None:
    pixels = np.array([[7, 3], [255, 7]])
    assert renumbered(pixels, {7: 0, 3: 1}).tolist() == [[0, 1], [NO_CLASS, 0]]


def test_places_have_the_class_of_the_pixel_in_their_middle(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.zip", masked_shapes(4, seed=1))
    whole = mask_of(examples, 1)
    assert (whole.shape, sorted(np.unique(whole).tolist())) == (
        (40, 48),
        [1, 2],
    )  # ground and leaf, of brick, ground, leaf
    small = mask_targets(examples, [1], (10, 12))
    assert small[0].tolist() == whole[2::4, 2::4].tolist()


def test_pixels_are_counted_by_true_and_found_class() -> None:
    true = np.array([[0, 0, 1, NO_CLASS]], np.int16)
    found = np.array([[0, 1, 1, 1]], np.uint16)
    assert confusion(found, true, 2).tolist() == [[1, 1], [0, 1]]
