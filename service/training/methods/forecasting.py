"""Forecasting: windows of the past → the steps that followed. Training, validation and test follow each other in time."""

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
from service.training.artifacts.finalize import Result, finish
from service.training.artifacts.tuned_card import tuned_card
from service.training.data.prepared import TensorBatches
from service.training.data.windows import (
    Floats,
    Windows,
    series_recipe,
    windows_of,
)
from service.training.evaluation.baseline import naive_errors, seasonal_naive
from service.training.evaluation.conformal import forecast_scale
from service.training.evaluation.evaluate import NotCompared, Predictions
from service.training.evaluation.incumbent import OTHER_INPUTS, Opened, open_incumbent
from service.training.failures import CannotTrain
from service.training.job_spec import WorkOrder
from service.training.loop.checkpoint import Checkpoints
from service.training.loop.train import train
from service.training.protocol import Progress
from service.training.stop_signal import StopSignal
from service.training.training_job import Job, Say, open_job
from service.types import SeriesInstance

SPLITS = ("train", "validation", "test")
ROWS = 256
"""Windows that are forecast together."""


def train_series(order: WorkOrder, folder: Path, say: Say, told: StopSignal) -> None:
    """The whole of a job on series."""
    job = open_job(order, folder)
    say(Progress(phase="training", ratio=0.0))
    torch.set_num_threads(1)  # of so small a network threads would only wait for each other
    device, knobs = order.device, job.knobs
    parts = parts_of(job)
    past = [values[:end] for values, _, end in parts["train"]]
    recipe = series_recipe(knobs, past, min(len(values) for values, _, _ in parts["train"]), job.info.channels)
    windows = {split: windows_of(parts[split], recipe, split) for split in SPLITS}
    for split in ("validation", "test"):
        if not len(windows[split].contexts):
            raise CannotTrain(
                f"the series are too short to hold a window of {split}; give longer series, or a smaller horizon"
            )

    card = tuned_card(
        shaped(job, recipe), order, task=job.task, labels=(), recipe=recipe, parameters=job.base.parameters
    )
    network = build_network(card)
    network.to(device)

    def forecast(split: str) -> Floats:
        return forecasts(network, windows[split].contexts, told, device)

    usual = usual_spread(windows["train"])

    def validate() -> dict[str, float]:
        seen = windows["validation"]
        outputs = forecast("validation")
        ours = torch.from_numpy(scaled_targets(replace(seen, targets=outputs)))
        loss = criterion(ours, in_spreads(seen, usual)).item()
        return {"loss": loss, "mae": float(np.abs(outputs - seen.targets).mean())}

    contexts = torch.from_numpy(scaled(windows["train"].contexts, units_of(windows["train"].contexts)))
    batches = TensorBatches(
        {CONTEXT: contexts}, in_spreads(windows["train"], usual), knobs.batch_size, order.spec.seed, device
    )
    state = train(
        network,
        batches,
        criterion,
        validate,
        knobs,
        Checkpoints(folder / "checkpoints"),
        say,
        told,
        output=FORECAST,
        device=device,
    )

    say(Progress(phase="evaluation", ratio=0.9, step=state.step, epoch=state.epoch))
    told.check()
    test = windows["test"]
    outputs = forecast("test")
    held_out = Predictions(outputs, test.targets, tuple(range(len(test.targets))), test.blocks)
    seen = windows["validation"]
    scale = forecast_scale(seen.contexts, seen.targets, forecast("validation"), seen.step)
    result = Result(
        card=card.model_copy(
            update={"forecast": scale, "parameters": sum(parameter.numel() for parameter in network.parameters())}
        ),
        network=network.cpu(),
        held_out=held_out,
        train_targets=np.concatenate([naive_errors(values, recipe.season) for values in past]),
        golden=[{CONTEXT: scaled(context, units_of(context))} for context in test.contexts[:3]],
        state=state,
        splits=job.splits,
        baseline_outputs=seasonal_naive(test.contexts, recipe.horizon, recipe.season),
        rival=rival_forecasts(job, recipe, test, told),
    )
    finish(job, result, say, told)


def parts_of(job: Job) -> dict[str, list[tuple[Floats, int, int]]]:
    """By split: the steps of each series, and from where to where its targets may lie.

    Series that say which split they belong to stay whole; all others are cut in time.
    """
    found: dict[str, list[tuple[Floats, int, int]]] = {split: [] for split in SPLITS}
    for index in range(len(job.examples)):
        example = job.examples[index]
        assert isinstance(example.instance, SeriesInstance)
        values = example.instance.values
        if example.split:
            found[example.split].append((values, 0, len(values)))
            continue
        stops = cut_series(len(values))
        found["train"].append((values, 0, stops.train_stop))
        found["validation"].append((values, stops.train_stop, stops.validation_stop))
        found["test"].append((values, stops.validation_stop, len(values)))
    return found


def shaped(job: Job, recipe: SeriesRecipe) -> Card:
    """The base's card with a network for such windows."""
    knobs = job.knobs
    arguments = {
        **job.base.architecture.arguments,
        **series_arguments(recipe),
        "width": knobs.hidden,
        "depth": knobs.layers,
        "dropout": knobs.dropout,
    }
    return job.base.model_copy(
        update={"architecture": job.base.architecture.model_copy(update={"arguments": arguments})}
    )


def usual_spread(windows: Windows) -> float:
    """The mean spread of the contexts; where none of them moves, that of the targets."""
    spread = float(spread_of(windows.contexts).mean())
    return spread or float(np.abs(windows.targets - windows.contexts[:, -1:]).mean()) or 1.0


def scaled_targets(windows: Windows) -> NDArray[np.float32]:
    """The targets, (n, horizon, channels), in the units in which the network sees the contexts."""
    units = units_of(windows.contexts)
    return ((windows.targets - units.centre) / units.scale).astype(np.float32)


def in_spreads(windows: Windows, usual: float) -> Tensor:
    """What `criterion` compares with, (n, 2, horizon, channels): the scaled targets, and what makes spreads of them.

    Errors count in spreads of their own context, so that large series do not drown small ones. A context that stood still has no
    spread: there `usual` stands in.
    """
    spread = spread_of(windows.contexts)  # (n, 1, channels)
    weight = units_of(windows.contexts).scale / np.where(spread > 0, spread, usual)
    targets = scaled_targets(windows)
    return torch.from_numpy(np.stack([targets, np.broadcast_to(weight.astype(np.float32), targets.shape)], axis=1))


def criterion(output: Tensor, wanted: Tensor) -> Tensor:
    """Huber's loss of (B, horizon, channels), in spreads: a single spike does not decide."""
    targets, weight = wanted[:, 0], wanted[:, 1]
    return functional.smooth_l1_loss(output * weight, targets * weight)


@torch.no_grad()
def forecasts(network: nn.Module, contexts: Floats, told: StopSignal, device: str = "cpu") -> Floats:
    """(n, context, channels) → (n, horizon, channels), both in the units of the data; the network is in evaluation mode."""
    units = units_of(contexts)
    given, parts = scaled(contexts, units), []
    for at in range(0, len(given), ROWS):
        if told.cancel.is_set():
            told.check()
        rows = torch.from_numpy(given[at : at + ROWS]).to(device)
        parts.append(network(**{CONTEXT: rows})[FORECAST].cpu().numpy())
    return unscaled(np.concatenate(parts), units)


def rival_forecasts(
    job: Job, recipe: SeriesRecipe, test: Windows, told: StopSignal
) -> Predictions | NotCompared | None:
    """What is served now, on the same windows."""
    rival = open_incumbent(job)
    if not isinstance(rival, Opened):
        return rival
    theirs = rival.card.recipe
    if not isinstance(theirs, SeriesRecipe) or theirs.channels != recipe.channels:
        return OTHER_INPUTS
    if theirs.horizon != recipe.horizon:
        return NotCompared(f"it forecasts {theirs.horizon} steps, not {recipe.horizon}")
    if theirs.context > recipe.context:
        return NotCompared(f"it looks back on {theirs.context} steps, and there are {recipe.context}")
    outputs = forecasts(rival.network, test.contexts[:, -theirs.context :], told)
    return Predictions(outputs, test.targets, tuple(range(len(test.targets))))
