"""The HTML report: self-contained, in plain words, with every text of a user escaped."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import CategoryColumn, NumberColumn, Recipe, RecordRecipe, RowRecipe, SeriesRecipe
from model_zoo.catalog import Catalog
from service.datasets.dataset import (
    DatasetInfo,
    DatasetKind,
    DatasetReport,
    Skipped,
)
from service.training.artifacts.html_report import (
    HIGHER_IS_BETTER,
    comparison,
    render_page,
    verdict,
)
from service.training.artifacts.importance_table import MAX_COLUMNS
from service.training.data.windows import blocks_of
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import ColumnImportance, ColumnImportances, Evaluation, Predictions
from service.training.evaluation.mistakes import Mistake, thumbnail
from service.training.protocol import Metric

HOSTILE = '<script>alert("x")</script>'
ATTRIBUTE = '" onload="alert(1)" x="'


class Tags(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def measured(labels: tuple[str, ...], examples: int = 40, right: float = 0.8, incumbent: bool = False) -> Evaluation:
    random = np.random.default_rng(0)
    targets = np.arange(examples) % len(labels)
    predicted = np.where(random.random(examples) < right, targets, (targets + 1) % len(labels))
    logits = 3.0 * np.eye(len(labels))[predicted]
    held_out = Predictions(logits, targets, tuple(range(examples)))
    return evaluate(
        "image-classification", labels, held_out, targets, seed=0, incumbent=held_out if incumbent else None
    )


def dataset(**report: object) -> DatasetInfo:
    return DatasetInfo(
        id="d1",
        display_name=HOSTILE,
        kind=DatasetKind.IMAGE_FOLDER,
        sha256="0" * 64,
        size_bytes=1,
        labels=("a", "b"),
        report=DatasetReport(examples=100, **report),  # type: ignore[arg-type]
        created=datetime.now(UTC),
    )


def card() -> Card:
    return Catalog.from_package().get("efficientnet_lite0").model_copy(update={"name": "mine"})


ROW = RowRecipe(
    kind="row",
    numbers=(NumberColumn(name="old age", mean=41.2345, std=3.0, fill=41.0),),
    categories=(CategoryColumn(name="city", categories=("Łódź", "Ypres")),),
)


def lineage(**more: object) -> dict[str, object]:
    return {
        "base": "efficientnet_lite0",
        "base_sha256": "1" * 64,
        "dataset_id": "d1",
        "dataset_sha256": "0" * 64,
        "method": "head",
        "job_id": "j1",
        "seed": 0,
        "hyperparameters": {"weight_decay": 0.1},
        "zoo_version": "0",
        "task": "image-classification",
        "training_seconds": 1.5,
        "rival": None,
    } | more


def render(evaluation: Evaluation, mistakes: tuple[Mistake, ...] = (), **more: object) -> str:
    curves = [
        Metric(name="loss", split=s, value=1.0 / (i + 1), step=i) for i in range(5) for s in ("train", "validation")
    ]
    splits = {"train": tuple(range(60)), "validation": (), "test": tuple(range(40))}
    return render_page(card(), evaluation, dataset(**more), lineage(), splits, curves, mistakes)


def test_verdict_of_classification_counts_correct_answers() -> None:
    evaluation = measured(("cat", "dog", "emu", "fox"), examples=200)
    assert verdict(evaluation).startswith("Right 7")
    assert "of 100 times" in verdict(evaluation)
    assert verdict(evaluation).endswith("would be right 25 times.")
    few = measured(("cat", "dog"), examples=10, right=1.0)
    assert verdict(few) == "Right 10 of 10 times; always guessing the commonest class would be right 5 times."


def test_verdict_of_regression_is_in_target_units() -> None:
    y = np.array([100.0, 200.0, 300.0])
    evaluation = evaluate("tabular-regression", (), Predictions(y + 5, y, (0, 1, 2)), y, seed=0)
    assert verdict(evaluation) == "Off by 5 on average; always guessing the mean would be off by 66.7."
    html = render_page(card(), evaluation, dataset(), lineage(), {}, [], ())
    assert "Mean absolute error" in html
    assert "What was taken for what" not in html


@pytest.mark.parametrize("hostile", [HOSTILE, ATTRIBUTE, "</title></style>{{ 7 * 7 }}", "<img src=x onerror=alert(1)>"])
def test_user_texts_are_escaped(hostile: str) -> None:
    evaluation = measured((hostile, "plain"))
    mistake = Mistake(0, hostile, hostile, "plain", 0.9, hostile, b"")
    html = render(
        evaluation,
        (mistake,),
        class_counts={hostile: 3},
        skipped_count=1,
        skipped=(Skipped(file=hostile, reason=hostile),),
        warnings=(hostile,),
    )
    tags = parsed(html)
    assert not [tag for tag, _ in tags.found if tag in ("script", "iframe", "object", "link")]
    assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
    assert hostile[:20] in "".join(tags.text)


def test_page_loads_no_external_resources() -> None:
    picture = io.BytesIO()
    Image.new("RGB", (900, 300), (200, 30, 30)).save(picture, "PNG")
    mistake = Mistake(0, "red.png", "cat", "dog", 0.9, "", thumbnail(picture.getvalue()))
    tags = parsed(render(measured(("cat", "dog")), (mistake,)))
    for tag, attributes in tags.found:
        for name in ("src", "href"):
            if name in attributes:
                assert (attributes[name] or "").startswith("data:image/jpeg;base64,"), tag
    policy = next(a["content"] for t, a in tags.found if t == "meta" and a.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    [picture_tag] = [a for t, a in tags.found if t == "img"]
    assert picture_tag["alt"] == "red.png"


@pytest.mark.parametrize("classes", [2, 20, 21, 50, 51, 300])
def test_any_number_of_classes_is_rendered(classes: int) -> None:
    labels = tuple(f"class {i}" for i in range(classes))
    html = render(measured(labels, examples=3 * classes, right=0.5))
    cells = html.count("<td") - html.count('<td class="left"')
    assert ("Confused most often" in html) == (classes > 20)
    assert len(html) < 1_500_000
    assert cells >= classes


def test_incumbent_is_shown_beside_the_version() -> None:
    evaluation = measured(("cat", "dog"), incumbent=True)
    served = lineage(rival={"version": 7, "metrics": {}})
    html = render_page(card(), evaluation, dataset(), served, {}, [], ())
    assert "version 7" in html
    assert "about as good as the version that is served now" in html


def test_page_shows_example_call() -> None:
    html = render(measured(("cat", "dog")))
    assert "zoo predict mine photo.jpg" in html


@pytest.mark.parametrize(
    ("recipe", "line", "python"),
    [
        (
            ROW,
            """zoo predict mine '{"old age": 41.2, "city": "Łódź"}'""",
            "zoo.predict(\"mine\", {'old age': 41.2, 'city': 'Łódź'})",
        ),
        (
            RecordRecipe(kind="record", image=card().recipe, row=ROW),
            """zoo predict mine '{"image": "photo.jpg", "old age": 41.2, "city": "Łódź"}'""",
            """zoo.predict("mine", {"image": Path("photo.jpg"), "row": {'old age': 41.2, 'city': 'Łódź'}})""",
        ),
        (
            SeriesRecipe(kind="series", context=24, horizon=12),
            "steps.csv   # at least 24 steps",
            'zoo.predict("mine", steps)',
        ),
    ],
)
def test_example_call_fits_the_recipe(recipe: Recipe, line: str, python: str) -> None:
    mine = card().model_copy(update={"recipe": recipe})
    html = unescape(render_page(mine, measured(("cat", "dog")), dataset(), lineage(), {}, [], ()))
    assert line in html
    assert python in html


def test_base_without_weights_shows_no_digest() -> None:
    html = render_page(card(), measured(("cat", "dog")), dataset(), lineage(base_sha256="0" * 64), {}, [], ())
    assert "which comes without weights" in html


def test_perfect_result_is_stated() -> None:
    assert "every held-out example was right" in render(measured(("cat", "dog"), right=1.0))


def test_columns_are_shown_by_importance_with_bars_and_the_caveat() -> None:
    columns = [
        ColumnImportance(HOSTILE, 0.25, 0.05),
        *(ColumnImportance(f"c{i}", -0.01, 0.0) for i in range(MAX_COLUMNS)),
    ]
    found = ColumnImportances("accuracy", True, 0.9, 100, 400, 5, tuple(columns))
    html = render(replace(measured(("cat", "dog")), column_importance=found))
    tags = parsed(html)
    text = " ".join("".join(tags.text).split())
    assert not [tag for tag, _ in tags.found if tag == "script"]
    assert "Accuracy falls by" in text
    assert f"{HOSTILE}25.0 points5.0 points" in text
    assert "c28" in text
    assert "c29" not in text  # the thirty-first
    assert "1 column below these is in report.json. The values of one column are shuffled among 100 of the 400" in text
    assert "Of two columns that say the same, each looks unimportant" in text
    bars = [a["style"] or "" for tag, a in tags.found if tag == "td" and "gradient" in (a.get("style") or "")]
    assert ["100.0%" in bar for bar in bars] == [True] + [False] * (MAX_COLUMNS - 1)
    assert "Which columns it relies on" not in render(measured(("cat", "dog")))


@pytest.mark.parametrize("windows", [20, 200])
def test_better_forecast_without_interval_is_not_called_clearly_better(windows: int) -> None:
    """A few overlapping windows give no interval."""
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(windows, 12, 1))
    blocks = blocks_of([windows], 24)
    held_out = Predictions(targets + 0.5 * rng.normal(size=targets.shape), targets, tuple(range(windows)), blocks)
    naive = targets + rng.normal(size=targets.shape)
    incumbent = Predictions(naive, targets, held_out.indices, blocks)
    found = evaluate(
        "time-series-forecasting", (), held_out, np.ones((5, 1)), seed=0, incumbent=incumbent, baseline_outputs=naive
    )
    text = comparison(found)
    assert ("clearly better" in text) == (windows == 200)
    assert ("too few examples to tell it from the version" in text) == (windows == 20)


def test_compared_values_are_shown_with_enough_digits_to_differ() -> None:
    targets = np.linspace(1000.0, 2000.0, 40)
    train = np.array([1500.0])
    held_out = Predictions(np.full(40, 1500.0) + (targets - 1500.0) * 1e-5, targets, tuple(range(40)))
    evaluation = evaluate("tabular-regression", (), held_out, train, seed=0)
    ours, theirs = verdict(evaluation).split(";")
    assert ours.split()[2] not in theirs
    assert "better, though within the noise" in comparison(evaluation) or "better than" in comparison(evaluation)
    same = Predictions(np.full(40, 1500.0), targets, tuple(range(40)))
    assert "it is not better than the baseline" in comparison(evaluate("tabular-regression", (), same, train, seed=0))


def test_verdict_of_nearly_equal_accuracies_counts_all_examples() -> None:
    targets = np.arange(1000) % 2
    predicted = np.zeros(1000, int)
    predicted[1] = 1
    evaluation = evaluate(
        "text-classification",
        ("a", "b"),
        Predictions(3.0 * np.eye(2)[predicted], targets, tuple(range(1000))),
        np.array([0, 0, 1]),
        seed=0,
    )
    assert verdict(evaluation).startswith("Right 501 of 1000 times;")
    assert verdict(evaluation).endswith("would be right 500 times.")


@pytest.mark.parametrize("metric", ["accuracy", "f1", "map", "map_50", "mean_iou", "pixel_accuracy", "r2"])
def test_metric_of_which_more_is_better_is_marked_so(metric: str) -> None:
    assert metric in HIGHER_IS_BETTER


@pytest.mark.parametrize("metric", ["loss", "log_loss", "ece", "mae", "rmse", "smape", "mase", "bits_per_character"])
def test_metric_of_which_less_is_better_is_marked_so(metric: str) -> None:
    assert metric not in HIGHER_IS_BETTER
