"""A work order, opened: base, examples, splits and hyperparameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import InitialSource
from model_zoo.catalog import Catalog
from model_zoo.materialised import Materialised
from model_zoo.store import Store
from service.datasets.dataset import DatasetInfo, DatasetKind, Splits
from service.datasets.examples import StoredExamples, open_dataset
from service.datasets.splits import split_examples
from service.training.data.token_tags import bio_tags
from service.training.failures import CannotTrain
from service.training.hyperparameters import Hyperparameters, resolve
from service.training.job_spec import WorkOrder


@dataclass(frozen=True)
class TrainingJob:
    """Everything that a training method works on."""

    order: WorkOrder
    folder: Path
    base: Card
    files: Materialised | None
    """The base's files; None if the base has no weights."""
    examples: StoredExamples
    splits: Splits
    hparams: Hyperparameters
    left_out: dict[int, str] = field(default_factory=dict)
    """Examples that the job cannot use, by index, with the reason. Training adds to it as it meets them."""
    truncated: set[int] = field(default_factory=set)
    """Examples that are longer than the network reads, by index. Training adds to it as it meets them."""

    @property
    def info(self) -> DatasetInfo:
        """The data set's."""
        return self.examples.info

    @property
    def task(self) -> str:
        """Hugging Face id."""
        return self.order.spec.task

    @property
    def classifies(self) -> bool:
        """Whether the targets are classes."""
        return self.task.endswith("classification")

    @property
    def multi_label(self) -> bool:
        """Whether an example has any number of the classes."""
        return self.classifies and self.info.multi_label

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; empty if the target is not a class. Of spans: the tags of tokens."""
        if self.info.kind is DatasetKind.SPANS:
            return bio_tags(self.info.labels)
        return self.info.labels if self.classifies or self.info.kind in (DatasetKind.BOXES, DatasetKind.MASKS) else ()

    def targets(self, indices: Sequence[int]) -> NDArray[np.float64]:
        """Class indices, or numbers in the units of the data, (n,); of several classes 1 for each and 0 for the others,
        (n, classes)."""
        return self._all_targets[list(indices)]

    @cached_property
    def _all_targets(self) -> NDArray[np.float64]:
        return self.examples.outline().targets


def open_job(order: WorkOrder, folder: Path) -> TrainingJob:
    """Opens everything that the order names.

    Raises:
        CannotTrain: the files of the base are not in the store.
        UnknownCard, InvalidInput: the order names a base or a data set that does not exist.
    """
    base = Catalog.of_home(order.home).get(order.spec.base)
    files = None
    if not isinstance(base.source, InitialSource):
        files = Store(order.home).find(base)
        if files is None:
            raise CannotTrain(f"the files of the base {base.name!r} are missing from the store; pull the model first")
    examples = open_dataset(order.home, order.spec.dataset_id)
    spec = order.spec
    hparams = resolve(spec.method, spec.task, base, len(examples), spec.hyperparameters)
    return TrainingJob(order, folder, base, files, examples, split_examples(examples, spec.seed), hparams)
