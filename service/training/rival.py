"""What is served now, asked about the same held-out examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.card import Card, TunedSource
from model_zoo.catalog import Catalog
from model_zoo.errors import ZooModelError
from model_zoo.network import Network, load_network
from model_zoo.store import Materialised, Store
from model_zoo.versions import Versions
from service.tasks.table import task_for
from service.training.data import Prepared, predict
from service.training.evaluate import Predictions
from service.training.failures import CannotTrain
from service.training.job import Job
from service.training.told import Told

ROWS = 16
"""Of a batch."""


@dataclass(frozen=True)
class Opened:
    """A version that is served, on the CPU."""

    card: Card
    files: Materialised
    network: Network


def open_rival(job: Job) -> Opened | None:
    """None where there is no rival, or it answers another question: another task, other classes, other inputs.

    One whose files are gone or damaged is no rival either: that must not fail a job that has nothing to do with it.
    """
    folder = job.order.rival
    if folder is None:
        return None
    try:
        version = Versions(job.order.home).open(folder.parent.name, int(folder.name))
        card = version.card
        if card.task != job.task or _labels(version.files, card) != job.labels:
            return None
        base = None
        if isinstance(card.source, TunedSource) and card.source.method != "full":
            base = Store(job.order.home).find(Catalog.from_package().get(card.source.base))
        return Opened(card, version.files, load_network(card, version.files, base))
    except (OSError, ValueError, ZooModelError):
        return None


def rival_predictions(job: Job, held_out: Predictions, told: Told) -> Predictions | None:
    """Its outputs on labelled examples, in the form of `held_out`; None where it cannot be compared."""
    rival = open_rival(job)
    if rival is None:
        return None
    files = rival.files
    if isinstance(rival.card.source, TunedSource) and rival.card.source.method != "full" and job.files is not None:
        files = Materialised(files.folder, files.weights, {**job.files.files, **files.files}, files.digest)
    try:
        prepared = Prepared(job.examples, task_for(rival.card, files))
        output = rival.card.signature.outputs[0].name
        outputs: NDArray[np.floating] = predict(rival.network, output, prepared, held_out.indices, ROWS, told)
    except (CannotTrain, KeyError):  # it takes other inputs
        return None
    if rival.card.target is not None:
        outputs = outputs[:, 0].astype(np.float64) * rival.card.target.std + rival.card.target.mean
    return Predictions(outputs, held_out.targets, held_out.indices)


def _labels(files: Materialised, card: Card) -> tuple[str, ...]:
    if card.labels is None:
        return ()
    return tuple((files.folder / card.labels).read_text(encoding="utf-8").splitlines())
