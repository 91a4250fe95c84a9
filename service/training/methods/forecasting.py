"""Forecasting: windows of the past → the following steps. Training, validation and test data follow each other in time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import SeriesRecipe
from model_zoo.network import build_network
from service.datasets.splits import cut_series
from service.tasks.series.time_series_forecasting import (
    CONTEXT,
    FORECAST,
    scaled,
    series_arguments,
    spread_of,
    units_of,
    unscaled,
)
from service.training.artifacts.finalize import TrainedModel, finish
from service.training.artifacts.tuned_card import tuned_card, with_arguments
from service.training.data.prepared import TensorBatches
from service.training.data.windows import Floats, SeriesPart, Windows, series_recipe, windows_of
from service.training.evaluation.baseline import naive_errors, seasonal_naive
from service.training.evaluation.conformal import forecast_scale
from service.training.evaluation.incumbent import OTHER_INPUTS, OpenedIncumbent, open_incumbent
from service.training.evaluation.measurements import NotCompared, Predictions
from service.training.failures import CannotTrain
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.train import train
from service.training.protocol import Progress, SendMessage
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob, open_job
from service.types import SeriesInstance

SPLITS = ("train", "validation", "test")
BATCH_WINDOWS = 256
"""Windows that are forecast in one forward pass."""


def train_series(order: WorkOrder, folder: Path, send: SendMessage, stop: StopSignal) -> None:
    """Runs a whole job on series."""
    job = open_job(order, folder)
    send(Progress(phase="training", ratio=0.0))
    torch.set_num_threads(1)  # threads of so small a network would only wait for each other
    device, hparams = order.device, job.hparams
    parts = split_series(job)
    past = [part.values[: part.end] for part in parts["train"]]
    shortest = min(len(part.values) for part in parts["train"])
    recipe = series_recipe(hparams, past, shortest, job.info.channels)
    windows = {split: windows_of(parts[split], recipe, split) for split in SPLITS}
    for split in ("validation", "test"):
        if not len(windows[split].contexts):
            raise CannotTrain(
                f"the series are too short to hold a window of {split}; give longer series, or a smaller horizon"
            )

    base = _card_for_windows(job, recipe)
    card = tuned_card(base, order, task=job.task, labels=(), recipe=recipe, parameters=job.base.parameters)
    network = build_network(card)
    network.to(device)

    def forecast(split: str) -> Floats:
        return forecasts(network, windows[split].contexts, stop, device)

    usual = usual_spread(windows["train"])

    def validate() -> dict[str, float]:
        validation = windows["validation"]
        outputs = forecast("validation")
        scaled_outputs = torch.from_numpy(scaled_targets(replace(validation, targets=outputs)))
        loss = criterion(scaled_outputs, weighted_targets(validation, usual)).item()
        return {"loss": loss, "mae": float(np.abs(outputs - validation.targets).mean())}

    contexts = torch.from_numpy(scaled(windows["train"].contexts, units_of(windows["train"].contexts)))
    targets = weighted_targets(windows["train"], usual)
    batches = TensorBatches({CONTEXT: contexts}, targets, hparams.batch_size, order.spec.seed, device)
    checkpoints = Checkpoints(folder / "checkpoints")
    state = train(
        network, batches, criterion, validate, hparams, checkpoints, send, stop, output=FORECAST, device=device
    )

    send(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    stop.check()
    test = windows["test"]
    outputs = forecast("test")
    validation = windows["validation"]
    scale = forecast_scale(validation.contexts, validation.targets, forecast("validation"), validation.step)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    model = TrainedModel(
        card=card.model_copy(update={"forecast": scale, "parameters": parameters}),
        network=network.cpu(),
        held_out=Predictions(outputs, test.targets, tuple(range(len(test.targets))), test.blocks),
        train_targets=np.concatenate([naive_errors(values, recipe.season) for values in past]),
        golden=[{CONTEXT: scaled(context, units_of(context))} for context in test.contexts[:3]],
        state=state,
        splits=job.splits,
        baseline_outputs=seasonal_naive(test.contexts, recipe.horizon, recipe.season),
        incumbent=incumbent_forecasts(job, recipe, test, stop),
    )
    finish(job, model, send, stop)


def split_series(job: TrainingJob) -> dict[str, list[SeriesPart]]:
    """The parts of the series in which the targets of each split may lie.

    A series that names its split stays whole; all others are cut in time.
    """
    parts: dict[str, list[SeriesPart]] = {split: [] for split in SPLITS}
    for index in range(len(job.examples)):
        example = job.examples[index]
        assert isinstance(example.instance, SeriesInstance)
        values = example.instance.values
        if example.split:
            parts[example.split].append(SeriesPart(values, 0, len(values)))
            continue
        stops = cut_series(len(values))
        parts["train"].append(SeriesPart(values, 0, stops.train_stop))
        parts["validation"].append(SeriesPart(values, stops.train_stop, stops.validation_stop))
        parts["test"].append(SeriesPart(values, stops.validation_stop, len(values)))
    return parts


def _card_for_windows(job: TrainingJob, recipe: SeriesRecipe) -> Card:
    """The base's card with a network for such windows."""
    hparams = job.hparams
    size = {"width": hparams.hidden, "depth": hparams.layers, "dropout": hparams.dropout}
    return with_arguments(job.base, series_arguments(recipe) | size)


def usual_spread(windows: Windows) -> float:
    """The mean spread of the contexts; if all contexts are constant, the mean distance of the targets from the last step."""
    spread = float(spread_of(windows.contexts).mean())
    return spread or float(np.abs(windows.targets - windows.contexts[:, -1:]).mean()) or 1.0


def scaled_targets(windows: Windows) -> NDArray[np.float32]:
    """The targets, (n, horizon, channels), in the units in which the network sees the contexts."""
    units = units_of(windows.contexts)
    return ((windows.targets - units.centre) / units.scale).astype(np.float32)


def weighted_targets(windows: Windows, usual: float) -> Tensor:
    """The targets of `criterion`, (n, 2, horizon, channels): the scaled targets, and the factors that turn errors into spreads.

    Errors are measured in spreads of their own context, so that large series do not outweigh small ones. A constant context has
    no spread; `usual` replaces it.
    """
    spread = spread_of(windows.contexts)  # (n, 1, channels)
    weight = units_of(windows.contexts).scale / np.where(spread > 0, spread, usual)
    targets = scaled_targets(windows)
    return torch.from_numpy(np.stack([targets, np.broadcast_to(weight.astype(np.float32), targets.shape)], axis=1))


def criterion(output: Tensor, weighted: Tensor) -> Tensor:
    """Huber's loss of (B, horizon, channels), in spreads: single outliers do not dominate it."""
    targets, weight = weighted[:, 0], weighted[:, 1]
    return functional.smooth_l1_loss(output * weight, targets * weight)


@torch.no_grad()
def forecasts(network: nn.Module, contexts: Floats, stop: StopSignal, device: str = "cpu") -> Floats:
    """(n, context, channels) → (n, horizon, channels), both in the units of the data. The network must be in evaluation mode."""
    units = units_of(contexts)
    inputs, parts = scaled(contexts, units), []
    for at in range(0, len(inputs), BATCH_WINDOWS):
        stop.check_cancel()
        rows = torch.from_numpy(inputs[at : at + BATCH_WINDOWS]).to(device)
        parts.append(network(**{CONTEXT: rows})[FORECAST].cpu().numpy())
    return unscaled(np.concatenate(parts), units)


def incumbent_forecasts(
    job: TrainingJob, recipe: SeriesRecipe, test: Windows, stop: StopSignal
) -> Predictions | NotCompared | None:
    """The incumbent's forecasts for the same windows."""
    incumbent = open_incumbent(job)
    if not isinstance(incumbent, OpenedIncumbent):
        return incumbent
    theirs = incumbent.card.recipe
    if not isinstance(theirs, SeriesRecipe) or theirs.channels != recipe.channels:
        return OTHER_INPUTS
    if theirs.horizon != recipe.horizon:
        return NotCompared(f"it forecasts {theirs.horizon} steps, not {recipe.horizon}")
    if theirs.context > recipe.context:
        return NotCompared(f"it looks back on {theirs.context} steps, and there are {recipe.context}")
    outputs = forecasts(incumbent.network, test.contexts[:, -theirs.context :], stop)
    return Predictions(outputs, test.targets, tuple(range(len(test.targets))))
