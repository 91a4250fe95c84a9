"""The report for people: one HTML page that stands alone, without a script, and whose every word is escaped."""

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
from model_zoo.cards.recipes import RecordRecipe, RowRecipe, SeriesRecipe
from service.datasets.dataset import DatasetInfo, DatasetKind, Splits
from service.rounding import format_apart, is_better, is_equal
from service.training.artifacts.charts import curve_charts, reliability_chart
from service.training.data.accounting import Accounting
from service.training.evaluation.evaluate import Evaluation, is_classification
from service.training.evaluation.intervals import Value
from service.training.evaluation.mistakes import Mistake, cut
from service.training.protocol import Metric

MOST_CELLS = 50
"""Classes up to which the whole confusion matrix is shown; beyond, only the pairs that were confused most."""
NUMBERED = 20
"""Classes up to which its cells have numbers."""
MOST_PAIRS = 30
MOST_SKIPPED = 20
LABEL_CHARACTERS = 60
SHOWN_COLUMNS = 3
"""Of a row that is shown as an example; a column that is left out is an empty cell."""
NO_WEIGHTS = "0" * 64
"""The digest of a base that comes without any."""

NAMES = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro F1",
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
    "mlp_loss": "Loss of the perceptron",
    "weight_decay": "L2 penalty",
    "learning_rate": "Learning rate",
}
UPWARD = frozenset({"accuracy", "macro_f1", "r2"})
SHARES = frozenset({"accuracy", "macro_f1"})


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One line of the table of metrics."""

    name: str
    value: str
    interval: str
    baseline: str
    rival: str
    upward: bool
    primary: bool


def page(
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
    rival = lineage.get("rival")
    return _template().render(
        card=card,
        verdict=verdict(evaluation),
        comparison=comparison(evaluation),
        evaluation=evaluation,
        metrics=_metric_rows(evaluation),
        rival_name=None if rival is None else f"version {rival['version']}",
        curves=[(NAMES.get(name, name), chart) for name, chart in curve_charts(curves)],
        base_digest="" if lineage["base_sha256"] == NO_WEIGHTS else lineage["base_sha256"],
        cut_in_time=dataset.kind in (DatasetKind.SERIES, DatasetKind.PLAIN_TEXT),
        along="penalty, from strong to weak" if lineage["method"] == "head" else "step",
        confusion=_confusion(evaluation),
        pairs=_pairs(evaluation),
        per_class=evaluation.per_class,
        reliability=reliability_chart(evaluation.bins) if evaluation.bins else None,
        mistakes=[(mistake, _data_uri(mistake.picture), _score(mistake, evaluation)) for mistake in mistakes],
        right=_right(evaluation),
        dataset=dataset,
        skipped=dataset.report.skipped[:MOST_SKIPPED],
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
        case task if is_classification(task):
            of = min(evaluation.examples, 100)
            accuracy, theirs_right = metrics["accuracy"].value, baseline["accuracy"]
            ours, theirs = round(accuracy * of), round(theirs_right * of)
            if ours == theirs and not is_equal(
                accuracy, theirs_right
            ):  # of a hundred they are the same, of all they are not
                of = evaluation.examples
                ours, theirs = round(accuracy * of), round(theirs_right * of)
            return f"Right {ours} of {of} times; always guessing the commonest class would be right {theirs} times."
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
    """What the primary metric says beside the baseline and the rival, in sentences."""
    name, up = evaluation.primary, evaluation.higher_is_better
    value, base = evaluation.metrics[name], evaluation.baseline.metrics.get(name, math.nan)
    beyond = value.low > base if up else value.high < base
    if not is_better(value.value, base, higher=up):
        said = "not better"
    elif beyond and value.low < value.high:  # too few examples have no interval
        said = "clearly better"
    else:
        said = "better, though within the noise of so few examples,"
    text = f"By {NAMES.get(name, name).lower()} it is {said} than the baseline."
    if evaluation.without_value:
        names = ", ".join(NAMES.get(left, left) for left in evaluation.without_value)
        text += f" Without a value on these examples, and left out: {names}."
    if evaluation.not_compared:
        return f"{text} It could not be compared with the version that is served now: {evaluation.not_compared}."
    if evaluation.rival is None:
        return text
    difference = evaluation.rival.difference
    low, high = (difference.low, difference.high) if up else (-difference.high, -difference.low)
    if low == high != 0.0:
        return f"{text} There are too few examples to tell it from the version that is served now."
    beside = "better than" if low > 0 else "worse than" if high < 0 else "about as good as"
    return f"{text} It is {beside} the version that is served now, on the same held-out examples."


def _metric_rows(evaluation: Evaluation) -> list[MetricRow]:
    rival = {} if evaluation.rival is None else evaluation.rival.metrics
    rows = []
    for name, value in evaluation.metrics.items():
        beside = [figures[name] for figures in (evaluation.baseline.metrics, rival) if name in figures]
        ours, *others = _figures(name, value.value, *beside)
        rows.append(
            MetricRow(
                name=NAMES.get(name, name),
                value=ours,
                interval=_interval(name, value),
                baseline=others.pop(0) if name in evaluation.baseline.metrics else "–",
                rival=others.pop(0) if name in rival else "–",
                upward=name in UPWARD,
                primary=name == evaluation.primary,
            )
        )
    return rows


def _confusion(evaluation: Evaluation) -> dict[str, Any] | None:
    """Rows of cells: count and shade 0..1 of the row's share."""
    matrix = evaluation.confusion
    if matrix is None or len(matrix) > MOST_CELLS:
        return None
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    labels = [cut(label, LABEL_CHARACTERS) for label in evaluation.labels]
    rows = [
        (label, [(int(n), round(float(s), 3)) for n, s in zip(counts, share, strict=True)])
        for label, counts, share in zip(labels, matrix, shares, strict=True)
    ]
    return {"labels": labels, "rows": rows, "numbered": len(matrix) <= NUMBERED}


def _pairs(evaluation: Evaluation) -> list[tuple[str, str, int]]:
    """What was confused most: was, said, how often. Only where the matrix is too large to read."""
    matrix = evaluation.confusion
    if matrix is None or len(matrix) <= NUMBERED:
        return []
    off = matrix.copy()
    np.fill_diagonal(off, 0)
    worst = np.argsort(-off, axis=None, kind="stable")[:MOST_PAIRS]
    where = [divmod(int(i), len(off)) for i in worst]
    return [(evaluation.labels[r], evaluation.labels[c], int(off[r, c])) for r, c in where if off[r, c]]


def _score(mistake: Mistake, evaluation: Evaluation) -> str:
    return f"{mistake.score:.0%} sure" if is_classification(evaluation.task) else f"off by {mistake.score:+.4g}"


def _right(evaluation: Evaluation) -> bool:
    """Whether there was nothing to get wrong."""
    return is_classification(evaluation.task) and evaluation.metrics["accuracy"].value == 1.0


def _data_uri(picture: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(picture).decode() if picture else ""


def _calls(card: Card) -> tuple[str, str]:
    """The line for a shell, and the lines for Python. A model's name holds nothing but letters, digits and '_'."""
    argument, made = _example(card)
    python = [
        *(["from pathlib import Path"] if "Path(" in made else []),
        "from service.client import Client",
        "",
        *(['steps = [float(line) for line in open("steps.txt")]'] if made == "steps" else []),
        'with Client("127.0.0.1:8001") as zoo:',
        f'    print(zoo.predict("{card.name}", {made}))',
    ]
    return f"zoo predict {card.name} {argument}", "\n".join(python)


def _example(card: Card) -> tuple[str, str]:
    """An input as an argument of a shell, and in Python; of a table, the first columns with usual values."""
    recipe = card.recipe
    if isinstance(recipe, RowRecipe):
        row = _usual(recipe)
        return shlex.quote(strict_json.text(row, ascii_only=False)), repr(row)
    if isinstance(recipe, RecordRecipe):
        row = _usual(recipe.row)
        argument = shlex.quote(strict_json.text({"image": "photo.jpg"} | row, ascii_only=False))
        return argument, f'{{"image": Path("photo.jpg"), "row": {row!r}}}'
    if isinstance(recipe, SeriesRecipe):
        return f"steps.csv   # at least {recipe.context} steps", "steps"
    return {
        "text": ('"Your text"', '"Your text"'),
        "audio": ("sound.wav", 'Path("sound.wav")'),
    }.get(card.raw_input, ("photo.jpg", 'Path("photo.jpg")'))


def _usual(recipe: RowRecipe) -> dict[str, float | str]:
    numbers = {column.name: float(f"{column.mean:.3g}") for column in recipe.numbers[:SHOWN_COLUMNS]}
    words = {column.name: column.categories[0] for column in recipe.categories[:1] if column.categories}
    return {**numbers, **words}


def _figures(name: str, *values: float) -> tuple[str, ...]:
    return format_apart(*values, digits=3, percent=name in SHARES, grouped=True)


def _interval(name: str, value: Value) -> str:
    if value.low == value.high:
        return "–"
    low, _, high = _figures(name, value.low, value.value, value.high)
    return f"{low} to {high}"


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cut"] = cut
    environment.filters["json"] = lambda value: strict_json.text(value, ascii_only=False)
    return environment.get_template("report.html")
