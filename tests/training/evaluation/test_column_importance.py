"""Permutation importance: a column that decides is first, one without meaning near 0; the work is bounded and can be stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression

from model_zoo.cards.recipes import CategoryColumn, NumberColumn, RowRecipe
from service.tasks.tabular.row_input import columns_of
from service.training.evaluation import column_importance as tested
from service.training.evaluation.column_importance import (
    MAX_RUNS,
    Arrays,
    ColumnPlace,
    HeldOutRows,
    column_importances,
    vector_places,
)
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import ColumnImportances, Predictions
from service.training.stop_signal import StopRequested, StopSignal

REGRESSION, CLASSIFICATION = "tabular-regression", "tabular-classification"


def importances(
    task: str,
    x: NDArray[Any],
    y: NDArray[Any],
    run: Callable[[NDArray[Any]], NDArray[Any]],
    places: Sequence[ColumnPlace] = (),
    stop: StopSignal | None = None,
) -> ColumnImportances:
    """Of a network `run` that reads the tensor `columns`, a number each unless `places` say otherwise."""

    def outputs(given: Arrays) -> NDArray[Any]:
        return run(given["columns"])

    labels = ("no", "yes") if task == CLASSIFICATION else ()
    held_out = Predictions(run(x), y, tuple(range(len(y))))
    evaluation = evaluate(task, labels, held_out, y, seed=0)
    places = places or [ColumnPlace(f"c{at}", "columns", at) for at in range(x.shape[1])]
    rows = HeldOutRows(places, lambda chosen: {"columns": x[list(chosen)]}, outputs)
    found = column_importances(evaluation, y, rows, seed=7, stop=stop or StopSignal())
    assert found is not None
    return found


def test_deciding_column_is_first_and_redundant_columns_look_unimportant_beside_each_other() -> None:
    """c0 decides; c1 carries nothing; c2 and c3 say the same, and the network believes either of them alone."""
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 4))
    x[:, 3] = x[:, 2]
    y = 5 * x[:, 0] + np.abs(x[:, 2])

    def run(given: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(5 * given[:, 0] + np.minimum(np.abs(given[:, 2]), np.abs(given[:, 3])))

    before = x.copy()
    found = importances(REGRESSION, x, y, run)
    lost = {column.column: column.importance for column in found.columns}
    assert found.columns[0].column == "c0"
    assert lost["c1"] == 0.0
    assert 0 < lost["c2"] < lost["c0"] / 10
    assert 0 < lost["c3"] < lost["c0"] / 10
    both = [ColumnPlace("both", "columns", 2, 2)]
    assert importances(REGRESSION, x, y, run, both).columns[0].importance > 1.5 * max(lost["c2"], lost["c3"])
    assert found == importances(REGRESSION, x, y, run)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("task", [REGRESSION, CLASSIFICATION])
def test_importances_equal_those_of_scikit_learn(task: str) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=(120, 3))
    score = x @ [2.0, 0.5, 0.0] + random.normal(size=120)
    if task == REGRESSION:
        y, scoring = score, "neg_mean_absolute_error"
        model = LinearRegression().fit(x, y)
        run = model.predict
    else:
        y, scoring = (score > 0).astype(np.int64), "accuracy"
        model = LogisticRegression().fit(x, y)

        def run(given: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(model.predict_log_proba(given))

    expected = permutation_importance(model, x, y, scoring=scoring, n_repeats=5, random_state=7)
    found = importances(task, x, y, run)
    assert found.repeats == 5
    for column in found.columns:
        at = int(column.column[1:])
        assert column.importance == pytest.approx(expected.importances_mean[at])
        assert column.spread == pytest.approx(expected.importances_std[at])
    assert [c.importance for c in found.columns] == sorted((c.importance for c in found.columns), reverse=True)


@pytest.mark.parametrize(("rows", "columns"), [(50, 3), (9_000, 10), (300, 2_000)])
def test_runs_of_network_are_bounded(rows: int, columns: int) -> None:
    ran = 0

    def run(given: NDArray[Any]) -> NDArray[Any]:
        nonlocal ran
        ran += len(given)
        return np.asarray(given[:, 0])

    x = np.zeros((rows, 1))
    y = np.arange(float(rows))
    found = importances(REGRESSION, x, y, run, [ColumnPlace("c", "columns", 0)] * columns)
    assert found.held_out == rows
    assert found.repeats >= 1
    assert found.rows * found.repeats * columns <= MAX_RUNS
    assert ran == rows + found.rows * (1 + found.repeats * columns)  # the evaluation ran once on all


def test_job_stops_between_two_shuffles() -> None:
    stop, calls = StopSignal(), 0

    def run(given: NDArray[Any]) -> NDArray[Any]:
        nonlocal calls
        calls += 1
        if calls == 4:
            stop.cancel.set()
        return np.asarray(given[:, 0])

    with pytest.raises(StopRequested):
        importances(REGRESSION, np.zeros((20, 2)), np.arange(20.0), run, stop=stop)
    assert calls == 4


@pytest.mark.filterwarnings("ignore:overflow")
def test_column_that_overflows_the_network_when_shuffled_is_first() -> None:
    x = np.array([[1.0, 1.0], [200.0, -200.0]] * 10)

    def run(given: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.exp((given.sum(axis=1) * 5).astype(np.float32)))

    found = importances(REGRESSION, x, np.arange(20.0), run)
    assert [column.importance for column in found.columns] == [np.inf, np.inf]


def test_category_of_a_vector_is_shuffled_whole() -> None:
    recipe = RowRecipe(
        kind="row",
        numbers=(NumberColumn(name="age", mean=0.0, std=1.0, fill=0.0),),
        categories=(CategoryColumn(name="city", categories=("A", "B")), CategoryColumn(name="dog", categories=("no",))),
    )
    places = {place.column: place for place in vector_places(recipe, start=10)}
    vector = np.concatenate([np.zeros(10), columns_of(recipe, {"age": 5, "city": "B", "dog": "no"})])
    cut = {name: vector[place.start : place.start + place.width].tolist() for name, place in places.items()}
    assert cut == {"age": [5.0], "city": [0.0, 1.0], "dog": [1.0]}
    inputs = {"columns": np.arange(24.0).reshape(2, 12)}
    swapped = tested._with_shuffled(inputs, ColumnPlace("city", "columns", 4, 2), np.array([1, 0]))["columns"]
    assert swapped[0].tolist() == [0, 1, 2, 3, 16, 17, 6, 7, 8, 9, 10, 11]
