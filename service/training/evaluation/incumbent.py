"""What is served now, asked about the same held-out examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import TunedSource
from model_zoo.catalog import Catalog
from model_zoo.errors import ZooModelError
from model_zoo.materialised import Materialised
from model_zoo.network import load_network
from model_zoo.store import Store
from model_zoo.versions import Versions
from service.tasks.table import read_labels, task_for
from service.training.data.prepared import Prepared, predict
from service.training.evaluation.evaluate import NotCompared, Predictions
from service.training.failures import CannotTrain
from service.training.stop_signal import StopSignal
from service.training.training_job import Job

ROWS = 16
"""Of a batch."""
DAMAGED = NotCompared("its files are gone or damaged")
OTHER_INPUTS = NotCompared("it takes other inputs")


@dataclass(frozen=True)
class Opened:
    """A version that is served, on the CPU."""

    card: Card
    files: Materialised
    """Its own, and those of its base that it shares."""
    network: Network


def open_incumbent(job: Job) -> Opened | NotCompared | None:
    """None where nothing is served yet; NotCompared where it answers another question, or cannot be opened.

    Damaged files are no reason to fail: the job has nothing to do with them.
    """
    folder = job.order.rival
    if folder is None:
        return None
    try:
        version = Versions(job.order.home).open(folder.parent.name, int(folder.name))
        card, files = version.card, version.files
        if card.task != job.task:
            return NotCompared(f"its task is {card.task}")
        if read_labels(card, files.folder) != job.labels:
            return NotCompared("it knows other classes")
        base = None
        if isinstance(card.source, TunedSource) and card.source.method != "full":
            base = Store(job.order.home).find(Catalog.from_package().get(card.source.base))
            if base is None:
                return NotCompared(f"the files of its base {card.source.base} are not here")
            files = Materialised(files.folder, files.weights, {**base.files, **files.files}, files.digest)
        return Opened(card, files, load_network(card, files, base))
    except (OSError, ValueError, ZooModelError):
        return DAMAGED


def incumbent_predictions(job: Job, held_out: Predictions, told: StopSignal) -> Predictions | NotCompared | None:
    """Its outputs on labelled examples, in the form of `held_out`."""
    rival = open_incumbent(job)
    if not isinstance(rival, Opened):
        return rival
    try:
        prepared = Prepared(job.examples, task_for(rival.card, rival.files))
        output = rival.card.signature.outputs[0].name
        outputs: NDArray[np.floating] = predict(rival.network, output, prepared, held_out.indices, ROWS, told)
    except (CannotTrain, KeyError):
        return OTHER_INPUTS
    if rival.card.target is not None:
        outputs = outputs[:, 0].astype(np.float64) * rival.card.target.std + rival.card.target.mean
    return Predictions(outputs, held_out.targets, held_out.indices)
