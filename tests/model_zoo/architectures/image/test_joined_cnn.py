"""A picture with a row gets one answer that depends on both, alone as in a batch."""

import torch

from model_zoo.architectures.image.joined_cnn import JoinedCnn


def test_answer_depends_on_picture_and_row_and_on_no_other_row_of_the_batch() -> None:
    torch.manual_seed(0)
    network = JoinedCnn(3, hidden=(8, 4)).eval()
    pixels, columns = torch.randn(4, 3, 28, 28), torch.randn(4, 3)
    together = network(pixels, columns)
    assert together.shape == (4, 1)
    torch.testing.assert_close(together[1:2], network(pixels[1:2], columns[1:2]), atol=1e-6, rtol=1e-5)
    assert not torch.equal(together, network(pixels.roll(1, 0), columns))
    assert not torch.equal(together, network(pixels, columns.roll(1, 0)))
    features = network.features(pixels, columns)
    assert features.shape == (4, 4)
    assert network.joined.out is not None
    torch.testing.assert_close(network.joined.out(features), together)


def test_network_without_columns_takes_the_picture_alone() -> None:
    network = JoinedCnn(0, hidden=(), outputs=2).eval()
    assert network(torch.zeros(1, 3, 28, 28)).shape == (1, 2)
