"""The filter is a convolution as torch computes it, each row by its own kernel."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from model_zoo.architectures.image.image_filter import ImageFilter

RANDOM = np.random.default_rng(0)


def test_each_row_is_filtered_by_its_own_kernel() -> None:
    pixels = torch.from_numpy(RANDOM.integers(0, 256, (3, 6, 7, 3), np.uint8))
    kernel = torch.from_numpy(RANDOM.integers(-2, 3, (3, 2, 3, 3)).astype(np.float32))
    kernel[0, 1] = 0
    offset = torch.tensor([[3.0], [0.0], [-7.5]])
    found = ImageFilter()(pixels, kernel, offset)
    assert found.dtype == torch.uint8
    for row in range(3):
        planes = functional.pad(pixels[row].permute(2, 0, 1)[:, None].float(), (1, 1, 1, 1), mode="replicate")
        first, second = (functional.conv2d(planes, kernel[row, i][None, None]) for i in range(2))
        length = first if row == 0 else (first.square() + second.square()).sqrt()
        expected = (length + offset[row] + 0.5).floor().clamp(0, 255).to(torch.uint8)[:, 0].permute(1, 2, 0)
        assert (found[row].int() - expected.int()).abs().max() <= 1
        alone = ImageFilter()(pixels[row : row + 1], kernel[row : row + 1], offset[row : row + 1])
        assert torch.equal(alone[0], found[row])


def test_sums_are_rounded_half_up_and_limited() -> None:
    pixels = torch.full((1, 2, 2, 3), 101, dtype=torch.uint8)
    half, double, negative = (torch.zeros(1, 2, 3, 3) for _ in range(3))
    half[0, 0, 1, 1], double[0, 0, 1, 1], negative[0, 0, 1, 1] = 0.5, 3.0, -1.0
    zero = torch.zeros(1, 1)
    for kernel, expected in ((half, 51), (double, 255), (negative, 0)):
        assert (ImageFilter()(pixels, kernel, zero) == expected).all()
