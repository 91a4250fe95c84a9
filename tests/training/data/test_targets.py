"""Targets by split, in the forms that training and evaluation take."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from service.training.data.targets import SplitTargets
from service.training.failures import CannotTrain

FLAGS = np.array([[1, 0], [0, 1], [1, 1], [0, 0], [0, 0]], np.float64)
JOB = cast(Any, SimpleNamespace(classifies=True, targets=lambda indices: FLAGS[list(indices)]))


@pytest.mark.parametrize(("validation", "test"), [((2,), (3, 4)), ((4,), ())])
def test_held_out_examples_without_any_class_are_refused_before_training(
    validation: tuple[int, ...], test: tuple[int, ...]
) -> None:
    with pytest.raises(CannotTrain, match="no held-out example has a class"):
        SplitTargets.of(JOB, {"train": (0, 1), "validation": validation, "test": test})


def test_some_held_out_examples_may_be_without_a_class() -> None:
    found = SplitTargets.of(JOB, {"train": (0, 1), "validation": (4,), "test": (2, 3)})
    assert found.for_evaluation("test").tolist() == [[1, 1], [0, 0]]
