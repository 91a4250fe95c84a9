"""The last steps of a job."""

from pathlib import Path

import numpy as np
import pytest

from model_zoo.cards.recipes import SeriesRecipe
from model_zoo.catalog import Catalog
from service.training.artifacts.finalize import with_tolerance
from service.training.artifacts.tuned_card import tuned_card
from service.training.job_spec import JobSpec, Method, WorkOrder


def order(tmp_path: Path, method: Method = Method.HEAD, incumbent: Path | None = None) -> WorkOrder:
    spec = JobSpec(base="efficientnet_lite0", dataset_id="d1", model="mine", task="image-classification", method=method)
    return WorkOrder(job_id="j1", spec=spec, home=tmp_path, rival=incumbent)


def test_reduced_precision_of_forecast_is_bounded_in_its_units(tmp_path: Path) -> None:
    recipe = SeriesRecipe(kind="series", context=24, horizon=2, channels=1)
    card = tuned_card(
        Catalog.from_package().get("series_gru"), order(tmp_path, Method.FULL), task="time-series-forecasting",
        labels=(), recipe=recipe, parameters=5,
    )  # fmt: skip
    answers = [({}, {"forecast": np.array([[1e-4], [-2e-4]], np.float32)})]
    assert with_tolerance(card, answers).tolerance.reduced_precision.max_abs_error == pytest.approx(1e-5)
