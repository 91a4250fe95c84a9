"""Rows give labels or numbers: from the data of a table to an answer in its units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import NumberColumn, RowRecipe
from model_zoo.cards.tuned_parts import TargetScale
from model_zoo.golden.golden_case import GoldenCase, NumberExpectation
from model_zoo.materialised import Materialised
from model_zoo.network import build_network
from service.errors import InvalidInput
from service.runtime.network import NetworkRuntime
from service.tasks.classification import LabelAnswers
from service.tasks.regression import NumberAnswers
from service.tasks.table import task_for
from service.tasks.tabular.tabular_prediction import TabularPrediction
from service.types import Classification, Item, Options, Regression, RowInstance, TensorInstance, TextInstance
from tests.support.tasks.structured_cards import (
    CATEGORIES_ALONE,
    FLATS,
    NUMBERS_ALONE,
    table_card,
)

LABELS = ("cheap", "fair", "dear")
ROWS: list[dict[str, Any]] = [
    {"area": 40, "rooms": 1, "town": "Ulm", "lift": False},
    {"area": 120.5, "town": "Bonn"},
    {"rooms": "5", "town": "Atlantis", "lift": True},
    {"area": 70, "rooms": 3, "town": "Köln", "lift": None},
]


def items_of(task: Any, rows: Sequence[dict[str, Any]]) -> list[Item]:
    items = task.preprocess([RowInstance(row) for row in rows], [f"instances[{i}]" for i in range(len(rows))])
    assert all(isinstance(item, Item) for item in items), items
    return list(items)


def answers(card: Card, task: Any, rows: Sequence[dict[str, Any]]) -> list[Any]:
    torch.manual_seed(0)
    runtime = NetworkRuntime(build_network(card).eval(), "cpu")
    items = items_of(task, rows)
    outputs = task.split(runtime.run(task.collate(items)[0]), items)
    return [task.postprocess(row, item, Options()) for row, item in zip(outputs, items, strict=True)]


@pytest.mark.parametrize("recipe", [FLATS, NUMBERS_ALONE, CATEGORIES_ALONE], ids=["both", "numbers", "categories"])
@pytest.mark.parametrize("classes", [0, 3])
def test_batch_answers_as_its_rows_alone(recipe: RowRecipe, classes: int) -> None:
    known = {c.name for c in recipe.numbers} | {c.name for c in recipe.categories}
    rows = [{k: v for k, v in row.items() if k in known} for row in ROWS]
    rows = [row for row in rows if any(v is not None for v in row.values())]
    card = table_card(recipe, classes)
    task = TabularPrediction(LabelAnswers, card, LABELS) if classes else TabularPrediction(NumberAnswers, card)
    together = answers(card, task, rows)
    for row, answer in zip(rows, together, strict=True):
        [alone] = answers(card, task, [row])
        if isinstance(answer, Classification):
            assert [label.index for label in alone.labels] == [label.index for label in answer.labels]
            np.testing.assert_allclose([x.score for x in alone.labels], [x.score for x in answer.labels], atol=1e-6)
        else:
            assert alone.value == pytest.approx(answer.value, abs=1e-5)


def test_row_gets_labels_best_first() -> None:
    card = table_card(classes=3)
    [answer] = answers(card, TabularPrediction(LabelAnswers, card, LABELS), ROWS[:1])
    assert {label.name for label in answer.labels} == set(LABELS)
    assert sum(label.score for label in answer.labels) == pytest.approx(1.0)
    assert [x.score for x in answer.labels] == sorted((x.score for x in answer.labels), reverse=True)


def test_top_k_and_threshold_are_applied() -> None:
    task = TabularPrediction(LabelAnswers, table_card(classes=3), LABELS)
    row = {"logits": np.array([0.0, 3.0, 1.0], np.float32)}
    best = task.postprocess(row, Item({}), Options(top_k=1))
    assert isinstance(best, Classification)
    assert [label.name for label in best.labels] == ["fair"]
    sure = task.postprocess(row, Item({}), Options(threshold=0.5))
    assert isinstance(sure, Classification)
    assert len(sure.labels) == 1
    with pytest.raises(InvalidInput, match=r"options\.top_k"):
        TabularPrediction(NumberAnswers, table_card()).check(Options(top_k=1))


def test_number_is_in_the_datas_units_with_its_interval() -> None:
    target = TargetScale(mean=200_000, std=50_000, lower=-30_000, upper=45_000)
    task = TabularPrediction(NumberAnswers, table_card(target=target))
    answer = task.postprocess({"value": np.array([0.5], np.float32)}, Item({}), Options())
    assert answer == Regression(225_000, 195_000, 270_000)
    bare = TabularPrediction(NumberAnswers, table_card(target=TargetScale(mean=1, std=2)))
    assert bare.postprocess({"value": np.array([3.0], np.float32)}, Item({}), Options()) == Regression(7, None, None)


def test_output_tensors_are_in_the_datas_units() -> None:
    """A caller that asks for tensors knows neither mean nor spread."""
    task = TabularPrediction(NumberAnswers, table_card(target=TargetScale(mean=200_000, std=50_000)))
    shown = task.shown({"value": np.array([0.5], np.float32)})
    assert shown["value"].tolist() == [225_000]
    assert shown["value"].dtype == np.float32
    assert TabularPrediction(NumberAnswers, table_card()).shown({"value": np.array([0.5], np.float32)})[
        "value"
    ].tolist() == [0.5]


def test_real_patients_are_predicted_better_than_by_the_mean() -> None:
    """End to end on the diabetes study of Efron et al. (2004): recipe, rows as a caller writes them, network, units."""
    study = load_diabetes(scaled=False)
    rows = [dict(zip(study.feature_names, values, strict=True)) for values in study.data.tolist()]
    train, test = slice(0, 350), slice(350, None)
    known = study.data[train]
    statistics = zip(study.feature_names, known.mean(axis=0), known.std(axis=0), strict=True)
    columns = tuple(NumberColumn(name=name, mean=mean, std=std, fill=mean) for name, mean, std in statistics)
    scale = TargetScale(mean=study.target[train].mean(), std=study.target[train].std())
    card = table_card(RowRecipe(kind="row", numbers=columns), target=scale, width=16, depth=1)
    task = TabularPrediction(NumberAnswers, card)
    inputs = {k: torch.from_numpy(v) for k, v in task.collate(items_of(task, rows[train]))[0].items()}
    wanted = torch.tensor((study.target[train] - scale.mean) / scale.std, dtype=torch.float32)[:, None]
    torch.manual_seed(0)
    network = build_network(card).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(80):
        loss = torch.nn.functional.mse_loss(network(**inputs)["value"], wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    items = items_of(task, rows[test])
    outputs = task.split(NetworkRuntime(network.eval(), "cpu").run(task.collate(items)[0]), items)
    found = [task.postprocess(row, item, Options()) for row, item in zip(outputs, items, strict=True)]
    errors = [abs(a.value - t) for a, t in zip(found, study.target[test], strict=True) if isinstance(a, Regression)]
    by_mean = np.abs(study.target[test] - scale.mean).mean()
    assert len(errors) == len(items)
    assert np.mean(errors) < 0.8 * by_mean, f"{np.mean(errors):.1f} and {by_mean:.1f}"


def test_bad_row_fails_alone() -> None:
    task = TabularPrediction(NumberAnswers, table_card())
    given = [RowInstance(ROWS[0]), RowInstance({"area": "big"}), TextInstance(b"70 m2"), RowInstance(ROWS[3])]
    first, text, kind, last = task.preprocess(given, [f"instances[{i}]" for i in range(4)])
    assert isinstance(first, Item)
    assert isinstance(last, Item)
    assert isinstance(text, InvalidInput)
    assert text.field == "instances[1].row.area"
    assert isinstance(kind, InvalidInput)
    assert "expected row or tensors for model 'my_table', got text" in kind.message


def test_filled_in_cells_are_noted_on_the_item() -> None:
    items = items_of(TabularPrediction(NumberAnswers, table_card()), ROWS)
    assert [dict(item.notes) for item in items] == [
        {},
        {"empty_columns": "rooms, lift"},
        {"empty_columns": "area", "unseen_categories": "town"},
        {"empty_columns": "lift"},
    ]


@pytest.mark.parametrize("position", [-1, 4, 2**40])
def test_category_beyond_the_table_is_refused(position: int) -> None:
    task = TabularPrediction(NumberAnswers, table_card())
    numbers = np.zeros(2, np.float32)
    good = task.row(TensorInstance({"numbers": numbers, "categories": np.array([3, 2])}), "instances[0]")
    assert isinstance(good, Item)
    with pytest.raises(InvalidInput) as refused:
        task.row(TensorInstance({"numbers": numbers, "categories": np.array([position, 0])}), "instances[0]")
    assert refused.value.field == "instances[0].categories[0]"
    assert refused.value.problem == f"expected 0..3, got {position}"


@pytest.mark.parametrize("recipe", [FLATS, NUMBERS_ALONE, CATEGORIES_ALONE])
def test_warmup_item_runs_without_a_caller(recipe: RowRecipe) -> None:
    card = table_card(recipe, 3)
    task = TabularPrediction(LabelAnswers, card, LABELS)
    item = task.warmup_item()
    assert NetworkRuntime(build_network(card).eval(), "cpu").run(task.collate([item, item])[0])["logits"].shape == (
        2,
        3,
    )
    assert isinstance(task.row(TensorInstance(item.tensors), "warm-up"), Item)


def test_card_gets_its_task(tmp_path: Any) -> None:
    (tmp_path / "labels.txt").write_text("cheap\nfair\ndear\n")
    files = Materialised(tmp_path, tmp_path / "model.safetensors", {}, "")
    found = task_for(table_card(classes=3).model_copy(update={"labels": "labels.txt"}), files)
    assert isinstance(found, TabularPrediction)
    assert isinstance(found.answers, LabelAnswers)
    assert found.labels == LABELS
    regression = task_for(table_card(), files)
    assert isinstance(regression, TabularPrediction)
    assert isinstance(regression.answers, NumberAnswers)


def test_golden_row_is_judged_by_its_number() -> None:
    card = table_card(target=TargetScale(mean=500.0, std=100.0))
    task = TabularPrediction(NumberAnswers, card)
    case = GoldenCase.model_validate(
        {"input": {"row": {"area": 70, "town": "Ulm"}}, "expect": {"number": 500, "tolerance": 2}}
    )
    assert isinstance(case.expect, NumberExpectation)
    assert task.golden_instance(case.input) == RowInstance({"area": 70, "town": "Ulm"})
    assert task.golden_problem(case.expect, Regression(501.5), {}) is None
    problem = task.golden_problem(case.expect, Regression(503.0), {})
    assert problem == "expected 500, got 503: off by 3, allowed is 2"
    assert task.golden_problem(case.expect, Regression(float("nan")), {}) is not None
