"""The network of sound events: its memory reads neighbouring frames, and padding changes nothing."""

import pytest
import torch

from model_zoo.architectures.audio.sound_events import Memory, SoundEvents
from model_zoo.architectures.wrappers import SoundClassifier
from model_zoo.cards.signature import FEATURES
from model_zoo.catalog import Catalog
from model_zoo.network import build_network


@pytest.fixture
def network() -> SoundEvents:
    torch.manual_seed(0)
    return SoundEvents(mels=6, width=4, hidden=8, reach=3, blocks=2, classes=3).eval().requires_grad_(False)


def test_memory_adds_frames_before_and_after_each_channel_by_itself() -> None:
    torch.manual_seed(1)
    memory = Memory(width=2, reach=3).requires_grad_(False)
    x = torch.randn(1, 7, 2)
    found = memory(x, torch.ones(1, 7, 1, dtype=torch.bool))
    back, ahead = memory.back.weight[:, 0], memory.ahead.weight[:, 0]  # (channels, reach)
    for t in range(7):
        expected = x[0, t].clone()
        for i in range(3):
            if t - 2 + i >= 0:
                expected += back[:, i] * x[0, t - 2 + i]
            if t + 1 + i < 7:
                expected += ahead[:, i] * x[0, t + 1 + i]
        torch.testing.assert_close(found[0, t], expected)


def test_padding_of_any_content_changes_no_answer(network: SoundEvents) -> None:
    sound = torch.randn(1, 9, 6)
    mask = torch.ones(1, 9, dtype=torch.int64)
    padded = torch.cat([sound, torch.full((1, 5, 6), float("nan"))], dim=1)
    longer = torch.cat([mask, torch.zeros(1, 5, dtype=torch.int64)], dim=1)
    torch.testing.assert_close(network(padded, longer)[:, :9], network(sound, mask))
    served = SoundClassifier(network)
    short, long = served(features=sound, mask=mask), served(features=padded, mask=longer)
    torch.testing.assert_close(long, short)
    torch.testing.assert_close(short[FEATURES], served.features(features=sound, mask=mask))


def test_logit_is_that_of_the_mean_probability_of_the_frames(network: SoundEvents) -> None:
    sound, mask = torch.randn(2, 5, 6), torch.ones(2, 5, dtype=torch.int64)
    served = SoundClassifier(network)(features=sound, mask=mask)["logits"]
    torch.testing.assert_close(served.sigmoid(), network(sound, mask).sigmoid().mean(dim=1))


def test_card_builds_the_published_number_of_parameters() -> None:
    card = Catalog.from_package().get("speech_music")
    assert sum(tensor.numel() for tensor in build_network(card).parameters()) == card.parameters
