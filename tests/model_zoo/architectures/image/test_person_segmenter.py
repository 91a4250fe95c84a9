"""The segmenter of persons with random weights: shapes, rows of a batch, and the sense of its two classes."""

import pytest
import torch

from model_zoo.architectures.image.person_segmenter import PersonSegmenter


@pytest.fixture(scope="module")
def network() -> PersonSegmenter:
    torch.manual_seed(3)
    return PersonSegmenter().eval().requires_grad_(False)


def images(rows: int) -> torch.Tensor:
    return torch.rand(rows, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_each_pixel_has_logits_of_two_classes_alone_as_in_a_batch(network: PersonSegmenter) -> None:
    together = network(images(2))
    assert together.shape == (2, 2, 64, 96)
    assert not together[:, 0].any(), "the background is the zero that the person is compared with"
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], network(images(2)[i : i + 1]), atol=1e-5, rtol=0)


def test_the_gates_weigh_channels_by_the_whole_image(network: PersonSegmenter) -> None:
    image = images(1)
    changed = image.clone()
    changed[..., -16:, -16:] = 0.0
    far = (network(changed) - network(image))[0, 1, :16, :16]
    assert far.abs().max() > 0, "a corner does not change the opposite one"
