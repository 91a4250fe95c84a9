"""Each pixel of an image gets the class that torch's interpolation of the logits gives it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from service.tasks.image import image_segmentation
from service.tasks.image.image_segmentation import class_map, png_of


def smooth(classes: int, h: int, w: int, seed: int = 0) -> np.ndarray:
    """Logits with large areas of one class, and noise between them."""
    random = np.random.default_rng(seed)
    coarse = torch.tensor(random.normal(size=(1, classes, 3, 3)).astype(np.float32))
    logits = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bicubic")[0].numpy()
    return logits + random.normal(size=logits.shape).astype(np.float32) * 0.02


@pytest.mark.parametrize("shape", [(3, 16, 16), (150, 32, 24), (2, 1, 1), (5, 1, 7), (4, 9, 2)])
@pytest.mark.parametrize("size", [(64, 48), (1, 1), (7, 200), (16, 16), (5, 3)])
def test_class_of_a_pixel_is_that_of_torch(
    shape: tuple[int, int, int], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_segmentation, "CHUNK_VALUES", 1000)  # several chunks
    for logits in (smooth(*shape), np.random.default_rng(1).normal(size=shape).astype(np.float32)):
        larger = torch.nn.functional.interpolate(
            torch.tensor(logits)[None], size=size, mode="bilinear", align_corners=False
        )[0]
        mine = class_map(logits, size)
        assert mine.shape == size
        differs = mine != larger.argmax(0).numpy()
        chosen = np.take_along_axis(larger.numpy(), mine[None], 0)[0]
        assert (chosen[differs] >= larger.max(0).values.numpy()[differs] - 1e-5).all(), "only ties may differ"


def test_mask_has_as_many_bits_as_its_classes_need() -> None:
    classes = np.array([[0, 255], [3, 7]])
    for count, wanted in ((256, np.uint8), (257, np.uint16)):
        read = np.asarray(Image.open(io.BytesIO(png_of(classes, count))))
        assert read.dtype == wanted
        np.testing.assert_array_equal(read, classes)
    many = np.array([[40_000, 1]])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png_of(many, 65_536)))), many)
