"""Paddings of TensorFlow: outputs start at the first pixel, and odd rests are padded below and to the right."""

import torch

from model_zoo.architectures.image.same_padding import convolution


def test_strided_convolution_of_an_even_side_begins_at_the_first_pixel() -> None:
    made = convolution(1, 1, 3, stride=2)
    torch.nn.init.zeros_(made.weight)
    with torch.no_grad():
        made.weight[0, 0, 0, 0] = 1.0  # reads the upper left pixel under the kernel
        line = torch.arange(6.0).expand(1, 1, 6, 6)
        assert made(line)[0, 0, 0].tolist() == [0.0, 2.0, 4.0]
        assert made(torch.arange(1.0, 6.0).expand(1, 1, 5, 5))[0, 0, 1].tolist() == [0.0, 2.0, 4.0]


def test_convolution_without_a_stride_keeps_the_size() -> None:
    assert convolution(2, 4, 5, groups=2, bias=True)(torch.zeros(1, 2, 7, 3)).shape == (1, 4, 7, 3)
