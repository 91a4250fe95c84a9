"""The network for series starts from the seasonal naive forecast, improves by training, and is independent of units."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model_zoo.architectures.series_gru import SeriesGru
from model_zoo.catalog import Catalog
from model_zoo.network import build_network


def untrained(**arguments: int) -> SeriesGru:
    torch.manual_seed(0)
    return SeriesGru(**{"context": 12, "horizon": 5, "width": 16, **arguments}).eval()


def stirred(**arguments: int) -> SeriesGru:
    """A network whose last layers are not zero, as after training."""
    network = untrained(**arguments)
    for layer in (network.out, network.linear):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return network.requires_grad_(False)


def test_parameter_count_equals_the_card() -> None:
    card = Catalog.from_package().get("series_gru")
    assert sum(p.numel() for p in build_network(card).parameters()) == card.parameters


@pytest.mark.parametrize(("season", "expected"), [(1, [11] * 5), (3, [9, 10, 11, 9, 10]), (12, [0, 1, 2, 3, 4])])
def test_untrained_network_repeats_the_last_season(season: int, expected: list[int]) -> None:
    context = torch.arange(12.0).reshape(1, 12, 1)
    assert untrained(season=season)(context).flatten().tolist() == expected


def test_season_longer_than_the_context_is_rejected() -> None:
    with pytest.raises(ValueError, match="longer than the context"):
        SeriesGru(context=4, horizon=1, season=5)


def test_forecast_scales_with_the_units_of_the_context() -> None:
    network = stirred(channels=2, season=2)
    context = torch.randn(3, 12, 2, generator=torch.Generator().manual_seed(1))
    celsius = network(context)
    torch.testing.assert_close(network(context * 1.8 + 32.0), celsius * 1.8 + 32.0, atol=1e-4, rtol=0)
    torch.testing.assert_close(network(context * 1e-6) * 1e6, celsius, atol=1e-4, rtol=0)
    torch.testing.assert_close(network(context * 1e12) * 1e-12, celsius, atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [0.0, 0.1, -7.3, 1e6, 3e17])
def test_constant_context_gives_constant_forecast(level: float) -> None:
    """A zero spread must not be a divisor, and its rounding error must not count as a spread."""
    context = torch.full((2, 12, 1), level)
    forecast = stirred()(context)
    np.testing.assert_allclose(forecast.numpy(), np.float32(level), rtol=1e-6)


def test_constant_channel_does_not_affect_another_channel() -> None:
    context = torch.randn(1, 12, 2, generator=torch.Generator().manual_seed(1))
    context[..., 0] = 4.0
    forecast = stirred(channels=2)(context)
    assert (forecast[..., 0] == 4.0).all()
    assert forecast[..., 1].std() > 0.01


def test_gradients_of_a_constant_context_are_finite() -> None:
    network = untrained().train()
    network(torch.zeros(2, 12, 1)).square().sum().backward()
    context = torch.ones(1, 12, 1)
    (network(context) - 2.0).square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_batched_rows_equal_single_rows() -> None:
    network = stirred(channels=3)
    context = torch.randn(7, 12, 3, generator=torch.Generator().manual_seed(1))
    context[3] = torch.nan
    together = network(context)
    for i in (0, 1, 2, 4, 5, 6):
        torch.testing.assert_close(together[i : i + 1], network(context[i : i + 1]), atol=1e-5, rtol=0)
    assert together[3].isnan().all()


def sunspots_like() -> Tensor:
    """A season of 12, a slow trend and noise."""
    steps = np.arange(400)
    noise = np.random.default_rng(0).standard_normal(400)
    return torch.tensor(100 + 0.05 * steps + 10 * np.sin(steps * 2 * np.pi / 12) + 3 * noise, dtype=torch.float32)


def test_training_reduces_the_error_of_the_initial_forecast() -> None:
    windows = sunspots_like().unfold(0, 24 + 6, 1).unsqueeze(-1)  # (n, 30, 1)
    context, target = windows[:, :24], windows[:, 24:]
    torch.manual_seed(0)
    network = SeriesGru(24, 6, season=12, width=8)
    before = functional.l1_loss(network(context[300:]), target[300:]).item()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
    _, spread = network.scale(context[:250])
    for _ in range(40):
        loss = functional.mse_loss(network(context[:250]) / spread, target[:250] / spread)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    after = functional.l1_loss(network.eval()(context[300:]), target[300:]).item()
    assert after < 0.9 * before, f"{before:.2f} to {after:.2f}; the noise alone is 2.4"
