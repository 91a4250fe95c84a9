"""Masks of volumes: in the axes of their file, solid, and measured by its affine."""

from __future__ import annotations

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest

from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.tasks.volume.image_segmentation_3d import ImageSegmentation3d, one_solid
from service.types import Item, Options, TensorInstance, TextInstance

CARD = Catalog.from_package().get("deepbet")
TASK = ImageSegmentation3d(CARD)


def golden_item() -> Item:
    [item] = TASK.preprocess([TASK.golden_instance(CARD.golden[0].input)], ["instances[0]"])
    assert isinstance(item, Item), item
    return item


def test_region_is_measured_in_the_axes_of_the_file() -> None:
    item = golden_item()
    probabilities = np.zeros(item.tensors["volume"].shape[1:], np.float32)
    probabilities[30:36, 10:20, 5:9] = 0.6
    box = np.array([20, 40, 5, 30, 0, 20])
    found = TASK.postprocess({"probabilities": probabilities, "box": box}, item, Options())
    [region] = found.regions
    assert (region.name, region.voxels, region.start, region.end) == (
        "brain",
        240,
        (4, 10, 5),
        (10, 20, 9),
    )  # x is turned
    assert region.millilitres == pytest.approx(240 * 4**3 / 1000)
    mask: Any = nibabel.Nifti1Image.from_bytes(gzip.decompress(found.mask))
    assert np.count_nonzero(np.asarray(mask.dataobj)[4:10, 10:20, 5:9]) == 240
    assert mask.affine[0, 0] == -4
    none = TASK.postprocess({"probabilities": probabilities, "box": box}, item, Options(threshold=0.7))
    assert none.regions == ()
    assert found.shape == none.shape == probabilities.shape


def test_mask_keeps_its_largest_part_and_has_no_holes() -> None:
    mask = np.zeros((20, 20, 20), bool)
    mask[4:12, 4:12, 4:12] = True
    solid = mask.copy()
    mask[8, 8, 8] = False
    mask[15, 15, 15] = True
    np.testing.assert_array_equal(one_solid(mask, [2, 18, 2, 18, 2, 18]), solid)
    tunnel = solid.copy()
    tunnel[8, 8, 8:] = False  # open to the outside
    np.testing.assert_array_equal(one_solid(tunnel, [2, 18, 2, 18, 2, 18]), tunnel)
    assert not one_solid(mask, [0] * 6).any()


def test_other_kinds_and_wrong_tensors_are_refused_by_name() -> None:
    [refusal] = TASK.preprocess([TextInstance(b"head")], ["instances[0]"])
    assert isinstance(refusal, InvalidInput)
    assert "expected volume or tensors for model 'deepbet', got text" in str(refusal)
    for shape, value in (((1, 8, 20, 20), 1.0), ((1, 20, 20, 20), np.nan), ((2, 20, 20, 20), 1.0)):
        with pytest.raises(InvalidInput) as wrong:
            TASK.row(TensorInstance({"volume": np.full(shape, value, np.float32)}), "inputs")
        assert wrong.value.field == "inputs.volume"
