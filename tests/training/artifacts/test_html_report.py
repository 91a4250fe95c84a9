"""The page that a person looks at: it stands alone, says the result in plain words, and nothing of a user's can escape it."""

import io
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from model_zoo.cards.card import (
    Card,
    CategoryColumn,
    NumberColumn,
    Recipe,
    RecordRecipe,
    RowRecipe,
    SeriesRecipe,
)
from model_zoo.catalog import Catalog
from service.datasets.dataset import DatasetInfo, DatasetKind, Report, Skipped
from service.training.artifacts.charts import (
    Axis,
    curve_charts,
    line_chart,
    thinned,
)
from service.training.artifacts.html_report import comparison, render_page, verdict
from service.training.data.windows import blocks_of
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import Evaluation, Predictions
from service.training.evaluation.mistakes import Mistake, preview, thumbnail
from service.training.protocol import Metric
from service.types import ImageInstance, RowInstance, TextInstance

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
    said = np.where(random.random(examples) < right, targets, (targets + 1) % len(labels))
    logits = 3.0 * np.eye(len(labels))[said]
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
        report=Report(examples=100, **report),  # type: ignore[arg-type]
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


def test_the_result_is_said_in_plain_words() -> None:
    evaluation = measured(("cat", "dog", "emu", "fox"), examples=200)
    assert verdict(evaluation).startswith("Right 7")
    assert "of 100 times" in verdict(evaluation)
    assert verdict(evaluation).endswith("would be right 25 times.")
    few = measured(("cat", "dog"), examples=10, right=1.0)
    assert verdict(few) == "Right 10 of 10 times; always guessing the commonest class would be right 5 times."


def test_a_number_is_told_in_its_units() -> None:
    y = np.array([100.0, 200.0, 300.0])
    evaluation = evaluate("tabular-regression", (), Predictions(y + 5, y, (0, 1, 2)), y, seed=0)
    assert verdict(evaluation) == "Off by 5 on average; always guessing the mean would be off by 66.7."
    html = render_page(card(), evaluation, dataset(), lineage(), {}, [], ())
    assert "Mean absolute error" in html
    assert "What was taken for what" not in html


@pytest.mark.parametrize("hostile", [HOSTILE, ATTRIBUTE, "</title></style>{{ 7 * 7 }}", "<img src=x onerror=alert(1)>"])
def test_nothing_that_a_user_named_becomes_markup(hostile: str) -> None:
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


def test_the_page_stands_alone() -> None:
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
def test_any_number_of_classes_can_be_shown(classes: int) -> None:
    labels = tuple(f"class {i}" for i in range(classes))
    html = render(measured(labels, examples=3 * classes, right=0.5))
    cells = html.count("<td") - html.count('<td class="left"')
    assert ("Confused most often" in html) == (classes > 20)
    assert len(html) < 1_500_000
    assert cells >= classes


def test_the_version_that_is_served_now_stands_beside_it() -> None:
    evaluation = measured(("cat", "dog"), incumbent=True)
    served = lineage(rival={"version": 7, "metrics": {}})
    html = render_page(card(), evaluation, dataset(), served, {}, [], ())
    assert "version 7" in html
    assert "about as good as the version that is served now" in html


def test_it_says_how_to_call_the_version() -> None:
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
def test_it_says_how_to_call_a_version_that_takes_no_file(recipe: Recipe, line: str, python: str) -> None:
    mine = card().model_copy(update={"recipe": recipe})
    html = unescape(render_page(mine, measured(("cat", "dog")), dataset(), lineage(), {}, [], ()))
    assert line in html
    assert python in html


def test_a_base_without_weights_has_no_digest() -> None:
    html = render_page(card(), measured(("cat", "dog")), dataset(), lineage(base_sha256="0" * 64), {}, [], ())
    assert "which comes without weights" in html


def test_everything_right_is_said() -> None:
    assert "every held-out example was right" in render(measured(("cat", "dog"), right=1.0))


# ── charts ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_axis_shows_all_values_with_a_few_round_ticks() -> None:
    for values in ([0.0, 1.0], [3.0, 3.0], [1e-6, 1.0], [-5.0, 12_000.0], [0.1234, 0.1235]):
        axis = Axis.over(values, 0, 100)
        assert all(-1e-6 <= axis.at(value) <= 100 + 1e-6 for value in values)
        assert 1 <= len(axis.ticks()) <= 12
        assert all(-1e-6 <= axis.at(tick) <= 100 + 1e-6 for tick in axis.ticks())


def test_a_chart_leaves_out_what_is_not_finite_and_thins_long_curves() -> None:
    curves = [Metric(name="loss", split="train", value=float("nan") if i == 3 else i, step=i) for i in range(5000)]
    [(name, chart)] = curve_charts(curves)
    assert name == "loss"
    assert "nan" not in chart
    assert len(chart) < 15_000
    assert thinned([(float(i), 0.0) for i in range(5000)])[-1] == (4999.0, 0.0)


def test_names_of_curves_are_escaped() -> None:
    assert "<script" not in line_chart(HOSTILE, {HOSTILE: [(0, 1), (1, 2)]}, HOSTILE)


# ── mistakes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_inputs_are_shown_small() -> None:
    text, picture = preview(TextInstance(("long " * 500).encode()))
    assert len(text) == 400
    assert text.endswith("…")
    assert picture == b""
    large = io.BytesIO()
    Image.new("RGB", (2000, 1000)).save(large, "PNG")
    _, picture = preview(ImageInstance(large.getvalue()))
    assert Image.open(io.BytesIO(picture)).size == (160, 80)
    assert preview(ImageInstance(b"no picture")) == ("", b"")
    assert preview(RowInstance({"rooms": 3.0, "town": None})) == ("rooms: 3.0, town: ", b"")


@pytest.mark.parametrize("windows", [20, 200])
def test_better_is_not_clearly_better_where_nobody_can_tell_how_sure_it_is(windows: int) -> None:
    """Of few windows that overlap no interval can be had."""
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(windows, 12, 1))
    blocks = blocks_of([windows], 24)
    held_out = Predictions(targets + 0.5 * rng.normal(size=targets.shape), targets, tuple(range(windows)), blocks)
    naive = targets + rng.normal(size=targets.shape)
    incumbent = Predictions(naive, targets, held_out.indices, blocks)
    found = evaluate(
        "time-series-forecasting", (), held_out, np.ones((5, 1)), seed=0, incumbent=incumbent, baseline_outputs=naive
    )
    said = comparison(found)
    assert ("clearly better" in said) == (windows == 200)
    assert ("too few examples to tell it from the version" in said) == (windows == 20)


def test_figures_that_are_compared_on_the_page_differ_where_they_are_shown() -> None:
    targets = np.linspace(1000.0, 2000.0, 40)
    train = np.array([1500.0])
    held_out = Predictions(np.full(40, 1500.0) + (targets - 1500.0) * 1e-5, targets, tuple(range(40)))
    evaluation = evaluate("tabular-regression", (), held_out, train, seed=0)
    ours, theirs = verdict(evaluation).split(";")
    assert ours.split()[2] not in theirs
    assert "better, though within the noise" in comparison(evaluation) or "better than" in comparison(evaluation)
    same = Predictions(np.full(40, 1500.0), targets, tuple(range(40)))
    assert "it is not better than the baseline" in comparison(evaluate("tabular-regression", (), same, train, seed=0))


def test_classes_that_are_told_apart_once_more_often_than_by_guessing_are_counted_out_of_all() -> None:
    targets = np.arange(1000) % 2
    said = np.zeros(1000, int)
    said[1] = 1
    evaluation = evaluate(
        "text-classification",
        ("a", "b"),
        Predictions(3.0 * np.eye(2)[said], targets, tuple(range(1000))),
        np.array([0, 0, 1]),
        seed=0,
    )
    assert verdict(evaluation).startswith("Right 501 of 1000 times;")
    assert verdict(evaluation).endswith("would be right 500 times.")
