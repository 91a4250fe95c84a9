"""Task `time-series-forecasting`: numbers in time → the next numbers, by the SeriesRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SeriesRecipe
from model_zoo.cards.signature import TensorSpec
from model_zoo.golden.golden_case import Expectation, ForecastExpectation, GoldenInput
from service.datasets.readers.columns.cells import LARGEST_NUMBER
from service.errors import InvalidInput, ZooError
from service.rounding import format_against
from service.tasks.base import NO_FILES, Task
from service.tasks.instances import reject_kind
from service.types import Answer, Array, Forecast, Instance, Item, Options, SeriesInstance, Tensors, Units

CONTEXT, FORECAST = "context", "forecast"
"""Names of the tensors."""

CONSTANT_SHARE = 1e-12
"""A spread below this fraction of the largest number is rounding; such a context is constant."""


def series_inputs(recipe: SeriesRecipe) -> tuple[TensorSpec, ...]:
    """Input tensors of a `series_gru` for such series."""
    return (TensorSpec(name=CONTEXT, datatype="FP32", shape=(-1, recipe.context, recipe.channels)),)


def series_output(recipe: SeriesRecipe) -> TensorSpec:
    """The output tensor of a `series_gru` for such series."""
    return TensorSpec(name=FORECAST, datatype="FP32", shape=(-1, recipe.horizon, recipe.channels))


def series_arguments(recipe: SeriesRecipe) -> dict[str, Any]:
    """Constructor arguments of a `series_gru` for such series."""
    season = min(recipe.season, recipe.context)
    return {"context": recipe.context, "horizon": recipe.horizon, "channels": recipe.channels, "season": season}


def spread_of(contexts: Array) -> NDArray[np.float64]:
    """Standard deviation over the steps, `(…, steps, channels)` → `(…, 1, channels)`; 0 for a constant channel."""
    values = np.asarray(contexts, np.float64)
    peak = np.abs(values).max(axis=-2, keepdims=True)
    whole = np.where(peak > 0, peak, 1.0)
    spread = (values / whole).std(axis=-2, keepdims=True)  # fractions of the peak: squares neither overflow nor vanish
    return np.where(spread <= CONSTANT_SHARE, 0.0, spread * whole)


def units_of(contexts: Array) -> Units:
    """Centre and scale of contexts `(…, steps, channels)`, by which float32 can hold them at any level and size.

    Scaling does not change the forecast. But the network computes in float32, where a large level hides small movements and
    squares overflow from 1e19 on. The scale is the power of two nearest to the spread, and the centre is a multiple of it:
    the division is exact, and whole numbers stay whole. The centre of a constant channel is its value.
    """
    values = np.asarray(contexts, np.float64)
    spread = spread_of(values)
    peak = np.abs(values).max(axis=-2, keepdims=True)
    size = np.where(spread > 0, spread, np.where(peak > 0, peak, 1.0))
    scale = np.exp2(np.round(np.log2(size)))
    middle = (values / scale).mean(axis=-2, keepdims=True)
    return Units(np.where(spread > 0, np.round(middle) * scale, values[..., -1:, :]), scale)


def scaled(contexts: Array, units: Units) -> NDArray[np.float32]:
    """Contexts as the network gets them. A constant channel is exactly 0 in every step, without rounding noise."""
    values = np.asarray(contexts, np.float64)
    moves = spread_of(values) > 0
    return np.where(moves, (values - units.centre) / units.scale, 0.0).astype(np.float32)


def unscaled(forecasts: Array, units: Units) -> NDArray[np.float64]:
    """The network's forecasts for scaled contexts, in the units of the data."""
    return np.asarray(forecasts, np.float64) * units.scale + units.centre


class TimeSeriesForecasting(Task):
    """Forecasts the next steps of a series at any level and in any units."""

    chunk = 32
    light_rows = 2
    raw_types = (SeriesInstance,)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, SeriesRecipe):
            raise TypeError(f"card {card.name} has no recipe of series")
        self._recipe = card.recipe
        self._interval = None
        if card.forecast is not None:
            self._interval = np.array(card.forecast.lower), np.array(card.forecast.upper)  # (horizon, channels) each

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Series → their last steps, float32 `[context, channels]`, scaled by their own level and spread (`units_of`)."""
        return [self._read(instance, path) for instance, path in zip(instances, paths, strict=True)]

    def _read(self, instance: Instance, path: str) -> Item | ZooError:
        if not isinstance(instance, SeriesInstance):
            return reject_kind(self.card, instance, path)
        try:
            context = self._context(instance.values, f"{path}.series")
        except InvalidInput as error:
            return error
        steps = len(instance.values)
        notes = {"truncated": True, "steps": steps} if steps > len(context) else {}
        units = units_of(context)
        return Item({CONTEXT: scaled(context, units)}, notes=notes, units=units)

    def _context(self, values: NDArray[np.float64], path: str) -> NDArray[np.float64]:
        steps, channels = values.shape
        recipe = self._recipe
        # A series of no steps has an unknown number of channels.
        if steps and channels != recipe.channels:
            raise InvalidInput(path, f"expected {recipe.channels} numbers in each step, got {channels}")
        if steps < recipe.context:
            raise InvalidInput(path, f"expected at least {recipe.context} steps, got {steps}")
        context = values[-recipe.context :]
        wrong = np.argwhere(~(np.abs(context) <= LARGEST_NUMBER))
        if len(wrong):
            step, channel = wrong[0].tolist()
            got = context[step, channel]
            at = f"step {steps - len(context) + step}"
            raise InvalidInput(path, f"expected finite numbers of at most {LARGEST_NUMBER:g}, got {got:g} in {at}")
        return context

    def shown(self, row: Tensors, item: Item | None = None) -> Tensors:
        """A row of outputs in the caller's units; undoes the scaling of the context."""
        if item is None or item.units is None:
            return row
        return {name: unscaled(array, item.units).astype(array.dtype) for name, array in row.items()}

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Forecast:
        """`[horizon, channels]` in the caller's units. The intervals are as wide as the spread of the context, so a constant
        context has none."""
        values = np.asarray(row[FORECAST], np.float64)
        spread = spread_of(item.tensors[CONTEXT])  # (1, channels)
        if item.units is not None:
            values, spread = unscaled(values, item.units), spread * item.units.scale
        if self._interval is None or not spread.all():
            return Forecast(values)
        lower, upper = self._interval
        return Forecast(values, values + lower * spread, values + upper * spread)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The series of a golden case."""
        assert given.series is not None
        return SeriesInstance(np.array(given.series, np.float64))

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """A step that is too far off."""
        assert isinstance(expect, ForecastExpectation)
        assert isinstance(answer, Forecast)
        expected = np.array(expect.forecast, np.float64)
        if answer.values[: len(expected)].shape != expected.shape:
            return f"expected {len(expected)} steps or more of {expected.shape[1]} numbers, got {list(answer.values.shape)}"
        off = float(np.abs(answer.values[: len(expected)] - expected).max())
        if off <= expect.tolerance:
            return None
        shown, allowed = format_against(off, expect.tolerance)
        return f"a step is off by {shown}, allowed is {allowed}"
