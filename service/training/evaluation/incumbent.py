"""The incumbent, the version that is served now: opened, and run on the same held-out examples."""

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
from service.training.data.prepared import PreparedExamples, predict
from service.training.evaluation.measurements import NotCompared, Predictions
from service.training.failures import CannotTrain
from service.training.loop.criteria import in_units
from service.training.stop_signal import StopSignal
from service.training.training_job import TrainingJob

BATCH_ROWS = 16
DAMAGED_FILES = NotCompared("its files are gone or damaged")
OTHER_INPUTS = NotCompared("it takes other inputs")


@dataclass(frozen=True)
class OpenedIncumbent:
    """The incumbent on the CPU."""

    card: Card
    files: Materialised
    """Its own files, and those of its base that it shares."""
    network: Network


def open_incumbent(job: TrainingJob) -> OpenedIncumbent | NotCompared | None:
    """Opens the incumbent. None if nothing is served yet; NotCompared if it solves another task, or cannot be opened.

    Damaged files never fail the job: its result does not depend on them.
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
        if job.classifies and (card.activation == "sigmoid") != job.multi_label:
            several = "any number of classes" if job.multi_label else "one class"
            return NotCompared(f"it does not give an example {several}, as these data do")
        base = None
        if isinstance(card.source, TunedSource) and card.source.method != "full":
            base = Store(job.order.home).find(Catalog.of_home(job.order.home).get(card.source.base))
            if base is None:
                return NotCompared(f"the files of its base {card.source.base} are not here")
            files = Materialised(files.folder, files.weights, {**base.files, **files.files}, files.digest)
        return OpenedIncumbent(card, files, load_network(card, files, base))
    except (OSError, ValueError, ZooModelError):
        return DAMAGED_FILES


def incumbent_predictions(
    job: TrainingJob, held_out: Predictions, stop: StopSignal
) -> Predictions | NotCompared | None:
    """The incumbent's predictions for the same labelled examples, in the form of `held_out`."""
    incumbent = open_incumbent(job)
    if not isinstance(incumbent, OpenedIncumbent):
        return incumbent
    try:
        prepared = PreparedExamples(job.examples, task_for(incumbent.card, incumbent.files))
        output = incumbent.card.signature.outputs[0].name
        outputs: NDArray[np.floating] = predict(incumbent.network, output, prepared, held_out.indices, BATCH_ROWS, stop)
    except (CannotTrain, KeyError):
        return OTHER_INPUTS
    if incumbent.card.target is not None:
        outputs = in_units(outputs, incumbent.card.target)
    return Predictions(outputs, held_out.targets, held_out.indices)
