"""Task `time-series-forecasting`: numbers in time → the numbers to come. Input recipe: SeriesRecipe of the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from model_zoo.card import Card, SeriesRecipe, TensorSpec
from model_zoo.golden import Expectation, GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES, Task, reject_kind
from service.types import Answer, Array, Forecast, Instance, Item, Options, SeriesInstance, Tensors

CONTEXT, FORECAST = "context", "forecast"
"""Names of the tensors."""

LARGEST = 1e18
"""The squares of larger numbers are beyond what the network's numbers hold."""
STILL = 1e-6
"""As in the network: a spread less than this part of the largest number is rounding, and the context constant."""


def series_inputs(recipe: SeriesRecipe) -> tuple[TensorSpec, ...]:
    """Inputs of a `series_gru` for such series."""
    return (TensorSpec(name=CONTEXT, datatype="FP32", shape=(-1, recipe.context, recipe.channels)),)


def series_output(recipe: SeriesRecipe) -> TensorSpec:
    """What it gives."""
    return TensorSpec(name=FORECAST, datatype="FP32", shape=(-1, recipe.horizon, recipe.channels))


def series_arguments(recipe: SeriesRecipe) -> dict[str, Any]:
    """What a `series_gru` has to be told of such series."""
    season = min(recipe.season, recipe.context)
    return {"context": recipe.context, "horizon": recipe.horizon, "channels": recipe.channels, "season": season}


def spread_of(contexts: Array) -> NDArray[np.float64]:
    """Standard deviation over the steps, `(…, steps, channels)` → `(…, 1, channels)`; 0 for a channel that is constant."""
    values = np.asarray(contexts, np.float64)
    spread = values.std(axis=-2, keepdims=True)
    still = spread <= STILL * np.abs(values).max(axis=-2, keepdims=True)
    return np.where(still, 0.0, spread)


class TimeSeriesForecasting(Task):
    """The next steps of a series, whatever its level and its units."""

    chunk: ClassVar[int] = 32
    light_rows: ClassVar[int] = 2
    raw_types: ClassVar[tuple[type, ...]] = (SeriesInstance,)

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        super().__init__(card, labels, files)
        if not isinstance(card.recipe, SeriesRecipe):
            raise TypeError(f"card {card.name} has no recipe of series")
        self._recipe = card.recipe
        self._scale = None
        if card.forecast is not None:
            self._scale = np.array(card.forecast.lower), np.array(card.forecast.upper)  # (horizon, channels) each

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Series → their last steps, float32 `[context, channels]`, as they are: the network scales them."""
        return [self._one(instance, path) for instance, path in zip(instances, paths, strict=True)]

    def _one(self, instance: Instance, path: str) -> Item | ZooError:
        if not isinstance(instance, SeriesInstance):
            return reject_kind(self, instance, path)
        try:
            context = self._context(instance.values, f"{path}.series")
        except InvalidInput as error:
            return error
        steps = len(instance.values)
        notes = {"truncated": True, "steps": steps} if steps > len(context) else {}
        return Item({CONTEXT: context.astype(np.float32)}, notes=notes)

    def _context(self, values: NDArray[np.float64], path: str) -> NDArray[np.float64]:
        steps, channels = values.shape
        recipe = self._recipe
        # Of no steps nobody can tell how many numbers each would have had.
        if steps and channels != recipe.channels:
            raise InvalidInput(path, f"expected {recipe.channels} numbers in each step, got {channels}")
        if steps < recipe.context:
            raise InvalidInput(path, f"expected at least {recipe.context} steps, got {steps}")
        context = values[-recipe.context :]
        wrong = np.argwhere(~(np.abs(context) <= LARGEST))
        if len(wrong):
            step, channel = wrong[0].tolist()
            came = context[step, channel]
            at = f"step {steps - len(context) + step}"
            raise InvalidInput(path, f"expected finite numbers of at most {LARGEST:g}, got {came:g} in {at}")
        return context

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """`[horizon, channels]` as it is, with intervals unless the context stood still: they are as wide as it moved."""
        values = np.asarray(row[FORECAST], np.float64)
        spread = spread_of(item.tensors[CONTEXT])  # (1, channels)
        if self._scale is None or not spread.all():
            return Forecast(values)
        lower, upper = self._scale
        return Forecast(values, values + lower * spread, values + upper * spread)

    def golden_instance(self, given: GoldenInput) -> Instance:
        """None: a network without weights has no golden case, and a tuned one has tensors."""
        raise NotImplementedError(self.card.name)

    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """See `golden_instance`."""
        raise NotImplementedError(self.card.name)
