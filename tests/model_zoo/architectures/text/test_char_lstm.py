"""The character network: padding is ignored, and every step equals the last step of its prefix."""

import pytest
import torch

from model_zoo.architectures.text.char_lstm import CharLstm
from model_zoo.architectures.wrappers import CharacterModel


@pytest.fixture
def network() -> CharLstm:
    torch.manual_seed(0)
    return CharLstm(symbols=30, embedding=6, hidden=8).eval().requires_grad_(False)


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 30, shape, generator=torch.Generator().manual_seed(1))


def test_trailing_padding_does_not_change_the_output(network: CharLstm) -> None:
    text = ids(3, 9)
    mask = torch.ones_like(text)
    padded, padded_mask = torch.cat([text, ids(3, 5)], 1), torch.cat([mask, torch.zeros(3, 5, dtype=torch.int64)], 1)
    torch.testing.assert_close(network(padded, padded_mask), network(text, mask), atol=1e-6, rtol=0)
    torch.testing.assert_close(network.features(padded, padded_mask), network.features(text, mask), atol=1e-6, rtol=0)


def test_every_step_equals_forward_of_each_prefix(network: CharLstm) -> None:
    text = ids(2, 12)
    steps = network.every_step(text)
    for end in range(1, 13):
        beginning = text[:, :end]
        torch.testing.assert_close(steps[:, end - 1], network(beginning, torch.ones_like(beginning)), atol=1e-6, rtol=0)


def test_features_are_mean_and_maximum_of_each_channel(network: CharLstm) -> None:
    text = ids(1, 7)
    states = network.states(text)[0]
    expected = torch.cat([states.mean(0), states.amax(0)])
    torch.testing.assert_close(network.features(text, torch.ones_like(text))[0], expected)


def test_row_of_padding_only_gives_finite_output(network: CharLstm) -> None:
    text = ids(2, 5)
    mask = torch.tensor([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert network(text, mask).isfinite().all()
    assert not network.features(text, mask)[1].any()


def test_features_work_after_drop_own_head(network: CharLstm) -> None:
    text = ids(2, 5)
    before = network.features(text, torch.ones_like(text))
    model = CharacterModel(network)
    model.drop_own_head()
    torch.testing.assert_close(model.features(input_ids=text, attention_mask=torch.ones_like(text)), before)
    assert not any("output" in name or "attention" in name for name in model.state_dict())
