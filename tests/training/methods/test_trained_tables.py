"""A network that has learned the columns of a table before is the base of jobs on tables with these columns."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.datasets.dataset import Columns, DatasetKind
from service.training.job_spec import Method
from service.training.methods.head import train_head
from service.training.methods.tabular import train_table
from service.training.protocol import Finished
from tests.support.training.data_sets import add_dataset
from tests.support.training.method_runs import method_order, publish, report, run_method

BASE = "house_mlp"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tables") / "home"
    Store(folder).materialise(Catalog.from_package().get(BASE))
    return folder


@pytest.fixture(scope="module")
def rents(home: Path) -> str:
    """Rents that grow with what makes a house dear."""
    random = np.random.default_rng(0)
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(["living_area", "basement_area", "year_built", "garage_cars", "rent"])
    for area in random.uniform(700, 3000, 120):
        year, basement, cars = random.integers(1920, 2008), random.uniform(0, 1500), random.integers(0, 3)
        rent = 0.5 * area + 0.1 * basement + 2 * (year - 1900) + 50 * cars + random.normal(0, 20)
        rows.writerow([round(area), round(basement), year, cars, round(rent, 2)])
    return add_dataset(home, written.getvalue().encode(), "rents.csv", DatasetKind.TABLE, Columns(target="rent"))


@pytest.mark.parametrize("method", [Method.HEAD, Method.FULL])
def test_trained_columns_carry_over_to_another_target(method: Method, home: Path, rents: str, tmp_path: Path) -> None:
    order = method_order(home, BASE, rents, "tabular-regression", method, epochs=30)
    messages = run_method(train_head if method is Method.HEAD else train_table, order, tmp_path / "job")
    assert isinstance(messages[-1], Finished)
    found = report(tmp_path / "job")
    assert found["metrics"]["mae"]["value"] < 0.5 * found["baseline"]["mae"]
    columns = {column["column"]: column["importance"] for column in found["column_importance"]["columns"]}
    assert next(iter(columns)) == "living_area"
    assert columns.keys() == {"living_area", "basement_area", "year_built", "garage_cars"}  # those of the data alone
    assert columns["living_area"] > found["metrics"]["mae"]["value"]
    version = publish(home, tmp_path / "job")
    assert version.card.figures == ()
    recipe = Catalog.from_package().get(BASE).recipe
    assert version.card.recipe == recipe.model_copy(update={"target": "rent"})  # not that of the base, `price`
