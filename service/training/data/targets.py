"""The targets of a job's examples by split, in the forms that training and evaluation take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_zoo.cards.tuned_parts import TargetScale
from service.training.failures import CannotTrain
from service.training.loop.criteria import in_spreads, target_scale
from service.training.training_job import TrainingJob


@dataclass(frozen=True)
class SplitTargets:
    """Class indices, or numbers in the units of the data, (n,) for each split; of several classes 1 for each and 0 for the
    others, (n, classes)."""

    values: Mapping[str, NDArray[np.float64]]
    scale: TargetScale | None
    """Of numbers; None for classes."""

    @classmethod
    def of(cls, job: TrainingJob, splits: Mapping[str, Sequence[int]]) -> SplitTargets:
        """The targets of the examples with these indices. Raises CannotTrain if all training targets are the same number, or no
        held-out example has any of several classes, so that nothing could be measured."""
        values = {name: job.targets(indices) for name, indices in splits.items()}
        held_out = values["test"] if len(values["test"]) else values["validation"]
        if held_out.ndim == 2 and not held_out.any():
            raise CannotTrain("no held-out example has a class, so the result could not be judged")
        return cls(values, None if job.classifies else target_scale(values["train"]))

    def for_training(self, split: str) -> Tensor:
        """In the form that a criterion takes: class indices int64, or numbers in spreads float32, (n,); of several classes
        float32 (n, classes)."""
        values = self.values[split]
        if values.ndim == 2:
            return torch.from_numpy(values.astype(np.float32))
        return torch.from_numpy(values.astype(np.int64) if self.scale is None else in_spreads(values, self.scale))

    def for_evaluation(self, split: str) -> NDArray[Any]:
        """In the form that `evaluate` takes: class indices int64, or numbers float64 in the units of the data, (n,); of several
        classes int64 (n, classes)."""
        values = self.values[split]
        return values.astype(np.int64) if self.scale is None else values
