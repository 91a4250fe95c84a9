"""The network that tags music: its order of numbers is TensorFlow's, and padding changes nothing."""

import pytest
import torch

from model_zoo.architectures.audio.mel_vgg import MelVgg
from model_zoo.architectures.wrappers import SoundClassifier
from model_zoo.catalog import Catalog
from model_zoo.network import build_network


@pytest.fixture
def network() -> MelVgg:
    torch.manual_seed(0)
    return MelVgg(frames=140, mels=64, filters=2, classes=3).eval().requires_grad_(False)


def test_padding_of_any_content_changes_no_answer(network: MelVgg) -> None:
    windows = torch.rand(1, 2, 140, 64)
    padded = torch.cat([windows, torch.full((1, 1, 140, 64), float("nan"))], dim=1)
    mask, longer = torch.tensor([[1, 1]]), torch.tensor([[1, 1, 0]])
    served = SoundClassifier(network)
    torch.testing.assert_close(served(windows=padded, mask=longer), served(windows=windows, mask=mask))


def test_windows_do_not_change_each_other(network: MelVgg) -> None:
    windows, mask = torch.rand(2, 3, 140, 64), torch.ones(2, 3)
    each = [network(windows[:, i : i + 1], mask[:, :1]) for i in range(3)]
    torch.testing.assert_close(network(windows, mask), torch.cat(each, dim=1))


def test_channels_of_a_place_are_neighbours_and_normalisation_follows_the_rectifier(network: MelVgg) -> None:
    for convolution in network.convolutions:
        convolution.weight.zero_()
        convolution.bias.copy_(torch.tensor([-5.0, 2.0]))
    norm = network.norms[-1]
    norm.running_mean.fill_(1.0)
    norm.running_var.fill_(4.0 - 1e-3)
    vectors = network.vectors(torch.rand(1, 1, 140, 64), torch.ones(1, 1))
    assert vectors.flatten().tolist() == pytest.approx([-0.5, 0.5] * (vectors.numel() // 2))


def test_card_builds_the_published_number_of_parameters() -> None:
    card = Catalog.from_package().get("musicnn_vgg")
    assert sum(tensor.numel() for tensor in build_network(card).parameters()) == card.parameters
