"""The report for people: one self-contained HTML page without scripts, in which every text is escaped."""

from __future__ import annotations

import base64
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import RecordRecipe, RowRecipe, SeriesRecipe, TextRecipe
from service.datasets.dataset import DatasetInfo, DatasetKind, Splits
from service.rounding import format_apart, is_better, is_equal
from service.training.artifacts.charts import curve_charts, reliability_chart
from service.training.artifacts.importance_table import importance_table
from service.training.artifacts.tuned_card import NO_DIGEST
from service.training.data.accounting import Accounting
from service.training.evaluation.intervals import Value
from service.training.evaluation.measurements import Evaluation, is_classification
from service.training.evaluation.mistakes import Mistake, shorten
from service.training.job_spec import OBJECT_DETECTION, SEGMENTATION, TOKEN_CLASSIFICATION
from service.training.protocol import Metric

MAX_MATRIX_CLASSES = 50
"""With more classes only the most confused pairs are shown, not the confusion matrix."""
MAX_NUMBERED_CLASSES = 20
"""With more classes the cells of the matrix have no numbers."""
MAX_PAIRS = 30
MAX_SKIPPED = 20
LABEL_CHARACTERS = 60
SHOWN_COLUMNS = 3
"""Of a row in the example call; a missing column is an empty cell."""

METRIC_NAMES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
    "mean_average_precision": "Mean average precision",
    "micro_f1": "F1 over all classes",
    "subset_accuracy": "All classes right",
    "map": "Mean average precision (overlap 0.5 to 0.95)",
    "map_50": "Mean average precision (overlap 0.5)",
    "mean_iou": "Mean intersection over union",
    "pixel_accuracy": "Pixels right",
    "f1": "F1 of spans (strict)",
    "precision": "Precision of spans",
    "recall": "Recall of spans",
    "log_loss": "Log loss (nats)",
    "ece": "Calibration error",
    "mae": "Mean absolute error",
    "rmse": "Root mean square error",
    "r2": "R²",
    "smape": "sMAPE (%)",
    "mase": "MASE",
    "bits_per_character": "Bits per character",
    "perplexity": "Perplexity",
    "loss": "Loss",
    "mlp_loss": "Loss of the MLP",
    "weight_decay": "L2 penalty",
    "learning_rate": "Learning rate",
}
PERCENTAGES = frozenset(
    {
        "map",
        "map_50",
        "mean_iou",
        "pixel_accuracy",
        "f1",
        "precision",
        "recall",
        "accuracy",
        "macro_f1",
        "mean_average_precision",
        "micro_f1",
        "subset_accuracy",
    }
)
DRAWN = {
    OBJECT_DETECTION: "Green: the true boxes. Red: the boxes that it finds, with a score above 0.5.",
    SEGMENTATION: "Left: the true classes of the pixels. Right: those that it finds.",
}
"""What is drawn on held-out pictures, by task."""
HIGHER_IS_BETTER = PERCENTAGES | {"r2"}
COUNTED = {OBJECT_DETECTION: "boxes", SEGMENTATION: "pixels", TOKEN_CLASSIFICATION: "spans"}
"""What the support of a class counts, by task; examples otherwise."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One row of the table of metrics, as texts."""

    name: str
    value: str
    interval: str
    baseline: str
    incumbent: str
    higher_is_better: bool
    primary: bool


def render_page(
    card: Card,
    evaluation: Evaluation,
    dataset: DatasetInfo,
    lineage: Mapping[str, Any],
    splits: Splits,
    curves: Sequence[Metric],
    mistakes: Sequence[Mistake],
    accounting: Accounting | None = None,
) -> str:
    """The whole page."""
    incumbent = lineage.get("rival")
    return _template().render(
        card=card,
        verdict=verdict(evaluation),
        comparison=comparison(evaluation),
        evaluation=evaluation,
        counted=COUNTED.get(evaluation.task, "examples"),
        metrics=_metric_rows(evaluation),
        incumbent_name=None if incumbent is None else f"version {incumbent['version']}",
        curves=[(METRIC_NAMES.get(name, name), chart) for name, chart in curve_charts(curves)],
        base_digest="" if lineage["base_sha256"] == NO_DIGEST else lineage["base_sha256"],
        cut_in_time=dataset.kind in (DatasetKind.SERIES, DatasetKind.PLAIN_TEXT),
        x_label="penalty, from strong to weak" if lineage["method"] == "head" else "step",
        confusion=_confusion(evaluation),
        pairs=_pairs(evaluation),
        per_class=evaluation.per_class,
        importance=importance_table(evaluation.column_importance, METRIC_NAMES, PERCENTAGES),
        reliability=reliability_chart(evaluation.bins) if evaluation.bins else None,
        mistakes=[(mistake, _data_uri(mistake.picture), _score(mistake, evaluation)) for mistake in mistakes],
        all_correct=_all_correct(evaluation),
        drawn=DRAWN.get(evaluation.task, ""),
        dataset=dataset,
        skipped=dataset.report.skipped[:MAX_SKIPPED],
        accounting=accounting,
        counts=sorted(dataset.report.class_counts.items()),
        splits={name: len(splits.get(name, ())) for name in ("train", "validation", "test")},
        lineage={**lineage, "metrics": None, "baseline_metrics": None, "rival": None},
        hyperparameters=sorted(lineage["hyperparameters"].items()),
        calls=_calls(card),
    )


def verdict(evaluation: Evaluation) -> str:
    """The result in one sentence."""
    metrics, baseline = evaluation.metrics, evaluation.baseline.metrics
    match evaluation.task:
        case _ if evaluation.multi_label:
            name, of = "mean_average_precision", evaluation.examples
            ours, theirs = format_apart(metrics[name].value, baseline[name], digits=3, percent=True)
            right = round(metrics["subset_accuracy"].value * of)
            sets = f"all classes right for {right} of {of}, where a class counts from probability 0.5 on"
            return f"Mean average precision {ours}, by each class's share {theirs}; {sets}."
        case task if is_classification(task):
            of = min(evaluation.examples, 100)
            accuracy, baseline_accuracy = metrics["accuracy"].value, baseline["accuracy"]
            hits, base_hits = round(accuracy * of), round(baseline_accuracy * of)
            # Counts that are equal out of a hundred may differ out of all examples.
            if hits == base_hits and not is_equal(accuracy, baseline_accuracy):
                of = evaluation.examples
                hits, base_hits = round(accuracy * of), round(baseline_accuracy * of)
            return f"Right {hits} of {of} times; always guessing the commonest class would be right {base_hits} times."
        case "token-classification":
            ours, theirs = format_apart(metrics["f1"].value, baseline.get("f1", 0.0), digits=3, percent=True)
            kind = evaluation.baseline.kind
            return f"F1 of spans {ours}, where boundaries and label must be right; {kind}: {theirs}."
        case "object-detection":
            ours, theirs = format_apart(metrics["map"].value, baseline.get("map", 0.0), digits=3, percent=True)
            half = f"{metrics['map_50'].value:.1%} where an overlap of half is enough"
            return f"Mean average precision of boxes {ours}, {half}; {evaluation.baseline.kind}: {theirs}."
        case "image-segmentation":
            ours, theirs = format_apart(metrics["mean_iou"].value, baseline["mean_iou"], digits=3, percent=True)
            pixels = f"{metrics['pixel_accuracy'].value:.1%} of the pixels right"
            return f"Mean intersection over union {ours}, {pixels}; {evaluation.baseline.kind}: {theirs}."
        case "text-generation":
            name = "bits_per_character"
            ours_bits, theirs_bits = format_apart(metrics[name].value, baseline[name], digits=3)
            kind = evaluation.baseline.kind
            return f"Needs {ours_bits} bits to foresee a character; {kind}: {theirs_bits} bits."
        case "time-series-forecasting":
            naive = "repeating the last season"
        case _:
            naive = "always guessing the mean"
    ours_off, theirs_off = format_apart(metrics["mae"].value, baseline["mae"], digits=3, grouped=True)
    return f"Off by {ours_off} on average; {naive} would be off by {theirs_off}."


def comparison(evaluation: Evaluation) -> str:
    """The comparison with the baseline and the incumbent by the primary metric, in sentences."""
    name, higher = evaluation.primary, evaluation.higher_is_better
    value, base = evaluation.metrics[name], evaluation.baseline.metrics.get(name, math.nan)
    beyond_noise = value.low > base if higher else value.high < base
    if not is_better(value.value, base, higher=higher):
        relation = "not better"
    elif beyond_noise and value.low < value.high:  # with too few examples there is no interval
        relation = "clearly better"
    else:
        relation = "better, though within the noise of so few examples,"
    text = f"By {METRIC_NAMES.get(name, name).lower()} it is {relation} than the baseline."
    if evaluation.without_value:
        names = ", ".join(METRIC_NAMES.get(left, left) for left in evaluation.without_value)
        text += f" Without a value on these examples, and left out: {names}."
    if evaluation.not_compared:
        return f"{text} It could not be compared with the version that is served now: {evaluation.not_compared}."
    if evaluation.incumbent is None:
        return text
    difference = evaluation.incumbent.difference
    low, high = (difference.low, difference.high) if higher else (-difference.high, -difference.low)
    if low == high != 0.0:
        return f"{text} There are too few examples to tell it from the version that is served now."
    beside = "better than" if low > 0 else "worse than" if high < 0 else "about as good as"
    return f"{text} It is {beside} the version that is served now, on the same held-out examples."


def _metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    incumbent = {} if evaluation.incumbent is None else evaluation.incumbent.metrics
    rows = []
    for name, value in evaluation.metrics.items():
        compared = [values[name] for values in (evaluation.baseline.metrics, incumbent) if name in values]
        ours, *others = _formatted(name, value.value, *compared)
        rows.append(
            MetricRow(
                name=METRIC_NAMES.get(name, name),
                value=ours,
                interval=_interval_text(name, value),
                baseline=others.pop(0) if name in evaluation.baseline.metrics else "–",
                incumbent=others.pop(0) if name in incumbent else "–",
                higher_is_better=evaluation.higher_is_better
                if name == evaluation.primary
                else name in HIGHER_IS_BETTER,
                primary=name == evaluation.primary,
            )
        )
    return rows


def _confusion(evaluation: Evaluation) -> dict[str, Any] | None:
    """The confusion matrix as rows of cells: the count, and its share of the row, 0..1."""
    matrix = evaluation.confusion
    if matrix is None or len(matrix) > MAX_MATRIX_CLASSES:
        return None
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    labels = [shorten(label, LABEL_CHARACTERS) for label in evaluation.labels]
    rows = [
        (label, [(int(n), round(float(s), 3)) for n, s in zip(counts, share, strict=True)])
        for label, counts, share in zip(labels, matrix, shares, strict=True)
    ]
    return {"labels": labels, "rows": rows, "numbered": len(matrix) <= MAX_NUMBERED_CLASSES}


def _pairs(evaluation: Evaluation) -> list[tuple[str, str, int]]:
    """The most confused pairs: true class, predicted class, count. Empty if the matrix is small enough to read."""
    matrix = evaluation.confusion
    if matrix is None or len(matrix) <= MAX_NUMBERED_CLASSES:
        return []
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    worst = np.argsort(-off, axis=None, kind="stable")[:MAX_PAIRS]
    where = [divmod(int(i), len(off)) for i in worst]
    return [(evaluation.labels[r], evaluation.labels[c], int(off[r, c])) for r, c in where if off[r, c]]


def _score(mistake: Mistake, evaluation: Evaluation) -> str:
    if evaluation.task == OBJECT_DETECTION:
        return f"F1 of its boxes {mistake.score:.0%}"
    if evaluation.task == SEGMENTATION:
        return f"mean intersection over union {mistake.score:.0%}"
    return f"{mistake.score:.0%} sure" if is_classification(evaluation.task) else f"off by {mistake.score:+.4g}"


def _all_correct(evaluation: Evaluation) -> bool:
    """Whether every held-out example has the correct class."""
    name = "subset_accuracy" if evaluation.multi_label else "accuracy"
    return is_classification(evaluation.task) and evaluation.metrics[name].value == 1.0


def _data_uri(picture: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode() if picture else ""


def _calls(card: Card) -> tuple[str, str]:
    """Example calls for a shell and for Python. A model's name has only letters, digits and '_', so it needs no quotes."""
    argument, python_input = _example_input(card)
    python = [
        *(["from pathlib import Path"] if "Path(" in python_input else []),
        "from service.client import Client",
        "",
        *(['steps = [float(line) for line in open("steps.txt")]'] if python_input == "steps" else []),
        'with Client("127.0.0.1:8001") as zoo:',
        f'    print(zoo.predict("{card.name}", {python_input}))',
    ]
    return f"zoo predict {card.name} {argument}", "\n".join(python)


def _example_input(card: Card) -> tuple[str, str]:
    """An input as a shell argument, and in Python. Of a table: the first columns with typical values."""
    recipe = card.recipe
    if isinstance(recipe, RowRecipe):
        row = _typical_row(recipe)
        return shlex.quote(strict_json.text(row, ascii_only=False)), repr(row)
    if isinstance(recipe, RecordRecipe):
        row = _typical_row(recipe.row)
        argument = shlex.quote(strict_json.text({"image": "photo.jpg"} | row, ascii_only=False))
        return argument, f'{{"image": Path("photo.jpg"), "row": {row!r}}}'
    if isinstance(recipe, SeriesRecipe):
        return f"steps.csv   # at least {recipe.context} steps", "steps"
    if isinstance(recipe, TextRecipe) and recipe.pairs:
        return '"Your text" --text-pair "Your second text"', '{"text": "Your text", "text_pair": "Your second text"}'
    return {
        "text": ('"Your text"', '"Your text"'),
        "audio": ("sound.wav", 'Path("sound.wav")'),
    }.get(card.raw_input, ("photo.jpg", 'Path("photo.jpg")'))


def _typical_row(recipe: RowRecipe) -> dict[str, float | str]:
    numbers = {column.name: float(f"{column.mean:.3g}") for column in recipe.numbers[:SHOWN_COLUMNS]}
    categories = {column.name: column.categories[0] for column in recipe.categories[:1] if column.categories}
    return {**numbers, **categories}


def _formatted(name: str, *values: float) -> tuple[str, ...]:
    return format_apart(*values, digits=3, percent=name in PERCENTAGES, grouped=True)


def _interval_text(name: str, value: Value) -> str:
    if value.low == value.high:
        return "–"
    low, _, high = _formatted(name, value.low, value.value, value.high)
    return f"{low} to {high}"


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["shorten"] = shorten
    environment.filters["json"] = lambda value: strict_json.text(value, ascii_only=False)
    return environment.get_template("report.html")
