"""Outputs of networks → answers that several tasks give alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model_zoo.cards.tuned_parts import TargetScale
from service.types import Array, Classification, Label, Options, Regression

DEFAULT_TOP_K = 5


def best_labels(logits: Array, labels: Sequence[str], options: Options) -> Classification:
    """`[classes]` logits → labels with softmax probabilities, best first; a class without a name is called by its number."""
    x = np.asarray(logits, np.float64)
    scores = np.exp(x - x.max())
    scores /= scores.sum()
    count = min(options.top_k or DEFAULT_TOP_K, len(scores))
    best = np.argpartition(-scores, count - 1)[:count]
    best = best[np.argsort(-scores[best], kind="stable")]
    least = options.threshold or 0.0
    names = [labels[i] if i < len(labels) else str(i) for i in best]
    pairs = zip(best.tolist(), names, strict=True)
    return Classification(tuple(Label(i, name, float(scores[i])) for i, name in pairs if not scores[i] < least))


def number_of(value: Array, target: TargetScale | None) -> Regression:
    """The one element of `value`, in the units of the data, and around it what held 80 % of the held-out targets."""
    output = float(np.asarray(value, np.float64).ravel()[0])
    if target is None:
        return Regression(output)
    number = output * target.std + target.mean
    lower = None if target.lower is None else number + target.lower
    upper = None if target.upper is None else number + target.upper
    return Regression(number, lower, upper)
