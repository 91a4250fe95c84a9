"""The residual dense network enlarges by its scale, and each row is what it is alone."""

from __future__ import annotations

import torch

from model_zoo.architectures.image.rdn import ResidualDenseNetwork


def test_image_is_larger_by_the_scale_and_rows_do_not_depend_on_each_other() -> None:
    torch.manual_seed(0)
    network = ResidualDenseNetwork(blocks=2, layers=3, growth=4, features=8, scale=3).eval()
    pixels = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    with torch.inference_mode():
        together = network(pixels)
        alone = [network(one[None])[0] for one in pixels]
    assert together.shape == (2, 15, 21, 3)
    assert together.dtype == torch.uint8
    assert (torch.stack(alone).int() - together.int()).abs().max() <= 1
