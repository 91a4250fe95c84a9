"""Series → windows: what the network looks back on, and what came after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from model_zoo.cards.recipes import SeriesRecipe
from service.tasks.series.time_series_forecasting import spread_of
from service.training.failures import CannotTrain
from service.training.hyperparameters import Hyperparameters

Floats = NDArray[np.float64]

MOST_WINDOWS = {"train": 20_000, "validation": 2_000, "test": 2_000}
LONGEST_SEASON = 400
LIKENESS = 0.3
"""Autocorrelation from which a lag counts as a season."""
MOST_HORIZON = 48
BLOCK_HORIZONS = 2
"""Horizons that a block of windows is long. Windows at the border of two blocks forecast the same steps; shorter blocks have more
of them."""


@dataclass(frozen=True)
class Windows:
    """(n, context, channels) and (n, horizon, channels), in the units of the data."""

    contexts: Floats
    targets: Floats
    blocks: NDArray[np.int64]
    """(n,): windows of one block overlap, those of two do so at most at the border between them."""
    step: int
    """From one to the next."""


def series_recipe(knobs: Hyperparameters, train: Sequence[Floats], shortest: int, channels: int) -> SeriesRecipe:
    """What the user left open follows from the data: the season from the autocorrelation, the rest from the season.

    Args:
        train: the training parts of the series, (steps, channels) each.
        shortest: steps of the shortest series as a whole.

    Raises:
        CannotTrain: the training part of every series is shorter than one window.
    """
    season = knobs.season or season_of(train)
    longest = max(len(part) for part in train)
    horizon = knobs.horizon or min(season if season > 1 else 8, MOST_HORIZON, max(1, shortest // 8))
    context = knobs.context or min(max(2 * season, 2 * horizon, 16), max(season, (longest - horizon) // 2))
    if longest < context + horizon:
        raise CannotTrain(
            f"the series are too short: {longest} steps are there to train on, and a window takes {context} to look back on "
            f"and {horizon} to forecast; a smaller context or horizon may fit"
        )
    return SeriesRecipe(kind="series", context=context, horizon=horizon, channels=channels, season=min(season, context))


def season_of(series: Sequence[Floats]) -> int:
    """The lag at which the longest series is most like itself, trend aside; 1 where there is none."""
    values = max(series, key=len)[:, 0]
    steps = len(values)
    spread = spread_of(values[:, None]).item()
    if steps < 8 or not spread:
        return 1
    values = (values - values.mean()) / spread
    line = np.polynomial.Polynomial.fit(np.arange(steps), values, 1)
    rest = values - line(np.arange(steps))
    power = float(rest @ rest)
    if power <= 1e-12 * float(values @ values):
        return 1
    most = min(steps // 3, LONGEST_SEASON)
    # Wiener and Khinchin: the autocorrelation is the transform of the power spectrum.
    spectrum = np.fft.rfft(rest, 2 * steps)
    likeness = np.fft.irfft(np.abs(spectrum) ** 2)[: most + 2] / power
    likeness *= steps / (steps - np.arange(most + 2))  # fewer pairs at longer lags
    peaks = [
        lag
        for lag in range(2, most + 1)
        if likeness[lag] > LIKENESS and likeness[lag - 1] <= likeness[lag] >= likeness[lag + 1]
    ]
    if not peaks:
        return 1
    best = max(likeness[lag] for lag in peaks)
    return next(lag for lag in peaks if likeness[lag] > 0.9 * best)  # and not one of its multiples


def windows_of(series: Sequence[tuple[Floats, int, int]], recipe: SeriesRecipe, split: str) -> Windows:
    """All windows, or as many as are allowed, evenly.

    Args:
        series: the steps of each, and from where to where its targets may lie; contexts may reach back before that.
    """
    contexts, targets = [], []
    for values, begin, end in series:
        first = max(begin - recipe.context, 0)
        part = values[first:end]
        if len(part) < recipe.context + recipe.horizon:
            continue
        whole = sliding_window_view(part, recipe.context + recipe.horizon, axis=0).swapaxes(1, 2)
        contexts.append(whole[:, : recipe.context])
        targets.append(whole[:, recipe.context :])
    if not contexts:
        empty = np.zeros((0, recipe.context, recipe.channels))
        return Windows(empty, np.zeros((0, recipe.horizon, recipe.channels)), np.zeros(0, np.int64), 1)
    many = sum(len(part) for part in contexts)
    step = -(-many // MOST_WINDOWS[split])
    contexts, targets = [part[::step] for part in contexts], [part[::step] for part in targets]
    blocks = blocks_of([len(part) for part in contexts], -(-BLOCK_HORIZONS * recipe.horizon // step))
    return Windows(np.concatenate(contexts), np.concatenate(targets), blocks, step)


def blocks_of(windows: Sequence[int], length: int) -> NDArray[np.int64]:
    """The number of each window's block: those of each series in blocks of at least `length`; a shorter series is one block.

    Series count as independent of each other. Where all of them rise and fall together, intervals over blocks are too narrow.
    """
    found, first = [], 0
    for count in windows:
        blocks = max(1, count // length)
        found.append(first + np.arange(count) * blocks // count)
        first += blocks
    return np.concatenate(found)
