"""Forecasts are in the units of the series, with intervals that follow the errors on held-out data."""

from typing import Any

import numpy as np
import pytest
import torch

from model_zoo.cards.tuned_parts import ForecastScale
from model_zoo.golden.golden_case import ForecastExpectation, GoldenCase
from model_zoo.materialised import Materialised
from model_zoo.network import build_network
from service.errors import InvalidInput
from service.runtime.network import NetworkRuntime
from service.tasks.series.time_series_forecasting import TimeSeriesForecasting, series_arguments, spread_of
from service.tasks.table import task_for
from service.types import Forecast, ImageInstance, Item, Options, SeriesInstance
from tests.support.tasks.structured_cards import series_card

SCALE = ForecastScale(lower=((-1.0,), (-1.5,), (-2.0,)), upper=((1.0,), (1.5,), (2.5,)))


def series(values: Any, channels: int = 1) -> SeriesInstance:
    return SeriesInstance(np.array(values, np.float64).reshape(-1, channels))


def refusal(instance: Any, **card: Any) -> InvalidInput:
    [outcome] = TimeSeriesForecasting(series_card(**card)).preprocess([instance], ["instances[2]"])
    assert isinstance(outcome, InvalidInput)
    return outcome


def forecast(instance: SeriesInstance, **card: Any) -> Forecast:
    made = series_card(**card)
    task = TimeSeriesForecasting(made)
    [item] = task.preprocess([instance], ["x"])
    assert isinstance(item, Item)
    torch.manual_seed(0)
    runtime = NetworkRuntime(build_network(made).eval(), "cpu")
    [row] = task.split(runtime.run(task.collate([item])[0]), [item])
    answer = task.postprocess(row, item, Options())
    assert isinstance(answer, Forecast)
    return answer


def test_untrained_network_repeats_the_last_step_in_the_datas_units() -> None:
    answer = forecast(series(np.arange(1000.0, 1012.0)))
    assert answer.values.tolist() == [[1011.0]] * 3
    assert answer.lower is None
    assert answer.upper is None


def test_channels_are_independent() -> None:
    answer = forecast(series(np.arange(24.0), 2), channels=2)
    assert answer.values.tolist() == [[22.0, 23.0]] * 3


def test_long_series_is_truncated_with_a_note() -> None:
    task = TimeSeriesForecasting(series_card())
    long, exact = task.preprocess([series(np.arange(100.0)), series(np.arange(88.0, 100.0))], ["a", "b"])
    assert isinstance(long, Item)
    assert isinstance(exact, Item)
    np.testing.assert_array_equal(long.tensors["context"], exact.tensors["context"])
    assert (dict(long.notes), dict(exact.notes)) == ({"truncated": True, "steps": 100}, {})


def test_truncated_steps_may_have_gaps() -> None:
    [item] = TimeSeriesForecasting(series_card()).preprocess([series([np.nan, *range(12)])], ["a"])
    assert isinstance(item, Item)


def test_too_short_series_is_refused() -> None:
    wrong = refusal(series(range(11)))
    assert (wrong.field, wrong.problem) == ("instances[2].series", "expected at least 12 steps, got 11")
    assert refusal(series([])).problem == "expected at least 12 steps, got 0"
    assert refusal(series([]), channels=2).problem == "expected at least 12 steps, got 0"


def test_wrong_number_of_channels_is_refused() -> None:
    assert refusal(series(range(24), 2)).problem == "expected 1 numbers in each step, got 2"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e151, 1e300])
def test_gap_or_infinite_number_is_refused_by_its_step(bad: float) -> None:
    values = [0.0, 1.0, *range(10), bad, 3.0]
    wrong = refusal(series(values))
    assert wrong.problem.endswith(f"got {bad:g} in step 12")


def test_other_kind_of_input_is_refused() -> None:
    assert "expected series or tensors for model 'my_series', got image" in refusal(ImageInstance(b"x")).problem


def test_interval_width_follows_the_spread_of_the_series() -> None:
    wave = np.sin(np.arange(12.0))
    calm, wild = forecast(series(wave), scale=SCALE), forecast(series(100 * wave), scale=SCALE)
    assert calm.lower is not None
    assert calm.upper is not None
    assert wild.lower is not None
    assert wild.upper is not None
    assert (calm.lower < calm.values).all()
    assert (calm.values < calm.upper).all()
    np.testing.assert_allclose(wild.upper - wild.lower, 100 * (calm.upper - calm.lower), rtol=1e-5)
    np.testing.assert_allclose((calm.upper - calm.values)[:, 0] / wave.std(), [1.0, 1.5, 2.5], rtol=1e-5)


@pytest.mark.parametrize("level", [0.0, 5.0, -1e6, 1e-3])
def test_constant_series_has_no_interval(level: float) -> None:
    answer = forecast(series([level] * 12), scale=SCALE)
    np.testing.assert_allclose(answer.values, level, rtol=1e-6)
    assert answer.lower is None


def test_spread_equals_that_of_the_network() -> None:
    contexts = np.random.default_rng(0).normal(1e3, 2.0, (5, 12, 2)).astype(np.float32)
    contexts[2, :, 0] = 7.0
    network: Any = build_network(series_card(channels=2))
    _, spread = network.backbone.scale(torch.from_numpy(contexts))
    np.testing.assert_allclose(spread.numpy(), spread_of(contexts), rtol=1e-3)
    assert spread[2, 0, 0] == 0


def test_season_never_exceeds_the_context() -> None:
    recipe = series_card().recipe.model_copy(update={"season": 365})
    assert series_arguments(recipe)["season"] == 12  # type: ignore[arg-type]


def test_batch_answers_as_its_rows_alone() -> None:
    card = series_card(channels=2)
    task = TimeSeriesForecasting(card)
    rng = np.random.default_rng(0)
    instances = [SeriesInstance(rng.normal(level, 1 + level, (20, 2))) for level in (0.0, 10.0, 1000.0, 0.1)]
    items = [item for item in task.preprocess(instances, ["x"] * 4) if isinstance(item, Item)]
    torch.manual_seed(0)
    network: Any = build_network(card).eval()
    torch.nn.init.normal_(network.backbone.out.weight, std=0.3)
    runtime = NetworkRuntime(network, "cpu")
    together = task.split(runtime.run(task.collate(items)[0]), items)
    for item, row in zip(items, together, strict=True):
        [alone] = task.split(runtime.run(task.collate([item])[0]), [item])
        np.testing.assert_allclose(row["forecast"], alone["forecast"], rtol=1e-5, atol=1e-5)


def test_card_gets_its_task_and_a_warmup_item(tmp_path: Any) -> None:
    card = series_card()
    task = task_for(card, Materialised(tmp_path, tmp_path / "model.safetensors", {}, ""))
    assert isinstance(task, TimeSeriesForecasting)
    item = task.warmup_item()
    runtime = NetworkRuntime(build_network(card).eval(), "cpu")
    assert runtime.run(task.collate([item] * 2)[0])["forecast"].shape == (2, 3, 1)


@pytest.mark.parametrize(("level", "size"), [(0.0, 1e19), (0.0, 1e-19), (0.0, 1e149), (1e9, 1e-2), (-1e15, 1e5)])
def test_series_of_any_size_and_level_is_forecast_as_one_around_zero(level: float, size: float) -> None:
    wave = np.sin(np.arange(12.0))
    usual, other = forecast(series(wave), scale=SCALE), forecast(series(level + size * wave), scale=SCALE)
    for ours, theirs in ((usual.values, other.values), (usual.lower, other.lower), (usual.upper, other.upper)):
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose((theirs - level) / size, ours, atol=1e-4)


def test_output_tensors_are_in_the_units_of_the_series() -> None:
    task = TimeSeriesForecasting(series_card())
    [item] = task.preprocess([series(1e6 + np.arange(12.0))], ["x"])
    assert isinstance(item, Item)
    runtime = NetworkRuntime(build_network(series_card()).eval(), "cpu")
    [row] = task.split(runtime.run(task.collate([item])[0]), [item])
    assert task.shown(row, item)["forecast"].tolist() == [[1_000_011.0]] * 3


def test_golden_series_is_judged_by_the_first_steps_of_its_forecast() -> None:
    task = TimeSeriesForecasting(series_card())
    case = GoldenCase.model_validate(
        {"input": {"series": [[1.0], [2.0]]}, "expect": {"forecast": [[5.0], [6.0]], "tolerance": 0.5}}
    )
    assert isinstance(case.expect, ForecastExpectation)
    given = task.golden_instance(case.input)
    assert isinstance(given, SeriesInstance)
    assert given.values.tolist() == [[1.0], [2.0]]
    assert task.golden_problem(case.expect, Forecast(np.array([[5.1], [6.0], [99.0]])), {}) is None
    assert "off by 1, allowed is 0.5" in str(task.golden_problem(case.expect, Forecast(np.array([[5.0], [7.0]])), {}))
    assert "expected 2 steps or more" in str(task.golden_problem(case.expect, Forecast(np.array([[5.0]])), {}))
