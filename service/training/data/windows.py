"""Series → windows: a context, which the network sees, and the steps that follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model_zoo.cards.recipes import SeriesRecipe
from service.tasks.series.time_series_forecasting import spread_of
from service.training.failures import CannotTrain
from service.training.hyperparameters import Hyperparameters

Floats = NDArray[np.float64]

MAX_WINDOWS = {"train": 20_000, "validation": 2_000, "test": 2_000}
MAX_SEASON = 400
MIN_AUTOCORRELATION = 0.3
"""A lag with a lower autocorrelation is not a season."""
MAX_DEFAULT_HORIZON = 48
BLOCK_HORIZONS = 2
"""Length of a block of windows, in horizons. Windows at the border of two blocks forecast the same steps; shorter blocks have
more such windows."""


class SeriesPart(NamedTuple):
    """The part of a series in which the targets of a split may lie."""

    values: Floats
    """The whole series, (steps, channels): contexts may reach back before `begin`."""
    begin: int
    end: int


@dataclass(frozen=True)
class Windows:
    """n windows, in the units of the data."""

    contexts: Floats
    """(n, context, channels)"""
    targets: Floats
    """(n, horizon, channels)"""
    blocks: NDArray[np.int64]
    """The block of each window, (n,). Windows of one block overlap; windows of two blocks overlap at most at their border."""
    step: int
    """Steps from one window to the next."""


def series_recipe(hparams: Hyperparameters, train: Sequence[Floats], shortest: int, channels: int) -> SeriesRecipe:
    """The recipe with the user's values. Without them, the autocorrelation gives the season, and the season the rest.

    Args:
        train: the training parts of the series, (steps, channels) each.
        shortest: the length of the shortest series as a whole, in steps.

    Raises:
        CannotTrain: the training part of every series is shorter than one window.
    """
    season = hparams.season or find_season(train)
    longest = max(len(part) for part in train)
    horizon = hparams.horizon or min(season if season > 1 else 8, MAX_DEFAULT_HORIZON, max(1, shortest // 8))
    context = hparams.context or min(max(2 * season, 2 * horizon, 16), max(season, (longest - horizon) // 2))
    if longest < context + horizon:
        raise CannotTrain(
            f"the series are too short: {longest} steps are there to train on, and a window takes {context} to look back on "
            f"and {horizon} to forecast; a smaller context or horizon may fit"
        )
    return SeriesRecipe(kind="series", context=context, horizon=horizon, channels=channels, season=min(season, context))


def find_season(series: Sequence[Floats]) -> int:
    """The lag with the highest autocorrelation of the longest series, without its trend; 1 if there is none."""
    values = max(series, key=len)[:, 0]
    steps = len(values)
    spread = spread_of(values[:, None]).item()
    if steps < 8 or not spread:
        return 1
    values = (values - values.mean()) / spread
    trend = np.polynomial.Polynomial.fit(np.arange(steps), values, 1)
    rest = values - trend(np.arange(steps))
    power = float(rest @ rest)
    if power <= 1e-12 * float(values @ values):
        return 1
    longest = min(steps // 3, MAX_SEASON)
    # Wiener and Khinchin: the autocorrelation is the transform of the power spectrum.
    spectrum = np.fft.rfft(rest, 2 * steps)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: longest + 2] / power
    correlation *= steps / (steps - np.arange(longest + 2))  # longer lags have fewer pairs
    peaks = [
        lag
        for lag in range(2, longest + 1)
        if correlation[lag] > MIN_AUTOCORRELATION and correlation[lag - 1] <= correlation[lag] >= correlation[lag + 1]
    ]
    if not peaks:
        return 1
    best = max(correlation[lag] for lag in peaks)
    return next(lag for lag in peaks if correlation[lag] > 0.9 * best)  # and not one of its multiples


def windows_of(parts: Sequence[SeriesPart], recipe: SeriesRecipe, split: str) -> Windows:
    """All windows whose targets lie within the parts; if there are more than `MAX_WINDOWS`, an even sample."""
    contexts, targets = [], []
    for values, begin, end in parts:
        first = max(begin - recipe.context, 0)
        part = values[first:end]
        if len(part) < recipe.context + recipe.horizon:
            continue
        windows = sliding_window_view(part, recipe.context + recipe.horizon, axis=0).swapaxes(1, 2)
        contexts.append(windows[:, : recipe.context])
        targets.append(windows[:, recipe.context :])
    if not contexts:
        empty = np.zeros((0, recipe.context, recipe.channels))
        return Windows(empty, np.zeros((0, recipe.horizon, recipe.channels)), np.zeros(0, np.int64), 1)
    count = sum(len(part) for part in contexts)
    step = -(-count // MAX_WINDOWS[split])
    contexts, targets = [part[::step] for part in contexts], [part[::step] for part in targets]
    blocks = blocks_of([len(part) for part in contexts], -(-BLOCK_HORIZONS * recipe.horizon // step))
    return Windows(np.concatenate(contexts), np.concatenate(targets), blocks, step)


def blocks_of(windows: Sequence[int], length: int) -> NDArray[np.int64]:
    """The number of each window's block. Each series is divided into blocks of at least `length`; a shorter series is one block.

    Series count as independent of each other. If all of them rise and fall together, intervals over blocks are too narrow.

    Args:
        windows: the number of windows of each series.
    """
    blocks, first = [], 0
    for count in windows:
        number = max(1, count // length)
        blocks.append(first + np.arange(count) * number // count)
        first += number
    return np.concatenate(blocks)
