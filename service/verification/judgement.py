"""Whether a fine-tuned version decides on another tier or precision as in fp32: changed decisions (flips), and the loss of its
primary metric, on held-out examples of its own data. Pure.

A cosine of logits says little about a classifier: a head whose logits are large or close together misses a bound of 0.999
without one changed answer. Callers see the class, or the number with its error.

A version holds if it keeps both bounds:

    flips   at most `MAX_FLIPS` of its decisions differ; one always may, since one example proves nothing
    metric  the primary metric is not worse by more than `MAX_LOSS`, or by one example's share where that is more; an error grows
            by no more than the promotion gate tolerates

The intervals give the uncertainty of the figures (95 %): the score interval of the flips (Wilson 1927), and a paired bootstrap
of the change.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.card import Card
from service.engine.decisions import (
    Decisions,
)
from service.rounding import (
    format_apart,
)
from service.training.evaluation.evaluate import (
    metric_change,
)
from service.training.evaluation.intervals import share_interval
from service.training.evaluation.measurements import Predictions, is_classification

MAX_FLIPS = 0.02
"""Share of held-out decisions that another tier or precision may change."""
MAX_LOSS = 0.01
"""Loss that a metric where more is better (0..1) may have: one decision in a hundred."""
ERROR_TOLERANCE = 0.01
"""Share by which a metric where less is better (an error) may grow. The promotion gate tolerates the same."""
BOUNDS = 1
"""Version of the bounds. Raise it when a bound or a figure changes: stored figures of other bounds are measured again."""
JUDGED_TASKS = ("-classification", "regression")
_SEED = 0


def decides(card: Card) -> bool:
    """Whether a card's task gives a class or a number for each example, by which it can be judged."""
    return card.task.endswith(JUDGED_TASKS)


def judge(
    card: Card,
    runs: str,
    reference: NDArray[np.float32],
    outputs: NDArray[np.float32],
    targets: NDArray[np.float64],
) -> Decisions:
    """Compares outputs with those of fp32.

    Args:
        runs: the tier and precision of `outputs`.
        reference, outputs: rows of the card's first output, `(n, k)`.
        targets: indices of classes, or numbers in the units of the data, `(n,)`; of several classes 1 for each and 0 for the
            others, `(n, classes)`.
    """
    count = len(targets)
    before, after = (_predictions(card, array, targets) for array in (reference, np.nan_to_num(outputs)))
    found = metric_change(card.task, before, after, seed=_SEED)
    flips, share = None, None
    if is_classification(card.task):
        if targets.ndim == 2:  # several classes, each decided alone: one that changes makes another answer
            flips = int(((before.outputs >= 0) != (after.outputs >= 0)).any(axis=1).sum())
        else:
            flips = int((before.outputs.argmax(1) != after.outputs.argmax(1)).sum())
        share = share_interval(flips / count, count)
    loss = -found.change.value if found.higher_is_better else found.change.value
    allowed = max(MAX_LOSS, 1.0 / count) if found.higher_is_better else ERROR_TOLERANCE * abs(found.before)
    after_shown, before_shown = format_apart(found.after, found.before)
    problem = ""
    if not np.isfinite(outputs).all():
        problem = "its answers are not finite numbers"
    elif flips is not None and flips > max(1.0, MAX_FLIPS * count):
        problem = f"{flips} of {count} held-out decisions differ from fp32; at most {MAX_FLIPS:.0%} may"
    elif (flips is None or flips > 1) and loss > allowed + _ROUNDING:
        problem = (
            f"{found.metric} is {after_shown} on {count} held-out examples, in fp32 {before_shown}; it may be worse by"
            f" {allowed:.2g} at most"
        )
    return Decisions(
        runs=runs,
        examples=count,
        flips=flips,
        flips_low=share.low if share else 0.0,
        flips_high=share.high if share else 0.0,
        metric=found.metric,
        reference=found.before,
        value=found.after,
        change=found.change.value,
        change_low=found.change.low,
        change_high=found.change.high,
        problem=problem,
    )


_ROUNDING = 1e-9
"""Tolerance, so that a loss of exactly one example's share is allowed."""


def _predictions(card: Card, outputs: NDArray[np.float32], targets: NDArray[np.float64]) -> Predictions:
    indices = tuple(range(len(targets)))
    if is_classification(card.task):
        return Predictions(outputs, targets.astype(np.int64), indices)
    numbers = outputs[:, 0].astype(np.float64)
    if card.target is not None:
        numbers = numbers * card.target.std + card.target.mean
    return Predictions(numbers, targets, indices)
