"""Scenarios of training: a head and all weights, beside a plain script and scikit-learn."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmarks.finetune.common import (
    CNN,
    EPOCHS,
    FOLDS,
    FULL_EPOCHS,
    TRANSFORMER,
    Figures,
    Start,
    accuracy,
    finetune,
    plain,
    summary,
)
from benchmarks.finetune.folds import photo_folds, text_folds
from examples.fetch_data import TOPICS, make_photos, make_texts
from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.client import Client
from service.client.jobs import JobEvent, JobProgress, MetricValue
from service.datasets.examples import open_dataset
from service.datasets.splits import split_examples
from service.training.data.feature_cache import FeatureCache, features_folder

# ── the head ──────────────────────────────────────────────────────────────────────────────────────────────────────


def head(start: Start, rounds: int, seconds: float) -> Figures:
    """A head on photos, from the command to the served version, beside a plain loop of ten epochs over a frozen backbone."""
    folds = photo_folds(make_photos(), FOLDS)
    found: list[Figures] = []
    with start([CNN]) as zoo:
        for number, fold in enumerate(folds[: max(rounds, 1)]):
            name = f"photos_{number}"
            _, ours_s = finetune(zoo, CNN, fold, name, "--method", "head")
            script, script_s = plain(fold, EPOCHS)
            found.append(
                {
                    "zoo_s": ours_s,
                    "zoo_accuracy": accuracy(zoo, name),
                    "plain_s": script_s,
                    "plain_accuracy": script["accuracy"],
                }
            )
    return summary(
        found,
        {
            "times as fast, end to end": [f["plain_s"] / f["zoo_s"] for f in found],
            "zoo seconds": [f["zoo_s"] for f in found],
        },
        {
            "accuracy": [f["zoo_accuracy"] for f in found],
            "accuracy of the plain script": [f["plain_accuracy"] for f in found],
        },
    )


def _cross_validated(start: Start, base: str, folds: list[Path], stem: str) -> Figures:
    """Every fold through `zoo finetune`, and scikit-learn's logistic regression on the same features."""
    found = []
    with start([base]) as zoo:
        for number, fold in enumerate(folds):
            done, took = finetune(zoo, base, fold, f"{stem}_{number}", "--method", "head")
            scikit, scikit_s = scikit_learn(zoo.home, base, done["result"]["dataset_id"])
            found.append(
                {
                    "zoo_accuracy": accuracy(zoo, f"{stem}_{number}"),
                    "seconds": took,
                    "scikit_accuracy": scikit,
                    "scikit_seconds": scikit_s,
                }
            )
    return summary(
        found,
        {
            "seconds of a fold": [f["seconds"] for f in found],
        },
        {
            "accuracy": [f["zoo_accuracy"] for f in found],
            "scikit-learn on the same features": [f["scikit_accuracy"] for f in found],
        },
    )


def scikit_learn(home: Path, base: str, dataset_id: str) -> tuple[float, float]:
    """Accuracy of logistic regression on the features that the job has cached, with its penalty chosen on the same validation
    data, and the seconds of the fit."""
    examples = open_dataset(home, dataset_id)
    card = Catalog.from_package().get(base)
    store = Store(home).find(card)
    assert store is not None
    features, ok, _ = FeatureCache(features_folder(home, card, store, examples.info), len(examples)).read()
    assert features is not None
    assert ok.all()
    targets = np.array([examples[i].target for i in range(len(examples))])
    parts = {name: list(indices) for name, indices in split_examples(examples, 0).items()}
    began = time.perf_counter()
    scaled = StandardScaler().fit(features[parts["train"]]).transform(features)

    def fitted(penalty: float) -> LogisticRegression:
        model = LogisticRegression(C=penalty, max_iter=1000)
        return model.fit(scaled[parts["train"]], targets[parts["train"]])

    def score(model: LogisticRegression, name: str) -> float:
        return float(model.score(scaled[parts[name]], targets[parts[name]]))

    best = max((fitted(10.0**power) for power in range(-4, 2)), key=lambda model: score(model, "validation"))
    return score(best, "test"), time.perf_counter() - began


def photos(start: Start, rounds: int, seconds: float) -> Figures:
    """Five folds of the photos."""
    return _cross_validated(start, CNN, photo_folds(make_photos(), FOLDS), "photos")


def topics(start: Start, rounds: int, seconds: float) -> Figures:
    """Five folds of the texts."""
    return _cross_validated(start, TRANSFORMER, text_folds(make_texts("topics.csv", TOPICS), FOLDS), "topics")


# ── all weights ───────────────────────────────────────────────────────────────────────────────────────────────────


def full(start: Start, rounds: int, seconds: float) -> Figures:
    """All weights on photos: seconds of an epoch and accuracy, beside the plain script with the same epochs and threads."""
    fold = photo_folds(make_photos(), FOLDS)[0]
    found: list[Figures] = []
    with start([CNN], settle=True) as zoo, Client(zoo.target) as client:
        dataset = client.upload_dataset(fold)
        for number in range(rounds):
            name, ends = f"full_{number}", _Epochs()
            settings = {"epochs": FULL_EPOCHS, "batch_size": 16}
            client.finetune(CNN, dataset, name, method="full", hyperparameters=settings, seed=number, on_event=ends)
            script, _ = plain(fold, FULL_EPOCHS, "--full")
            found.append(
                {
                    "zoo_epoch_s": ends.seconds(),
                    "zoo_accuracy": accuracy(zoo, name),
                    "plain_epoch_s": script["epoch_s"],
                    "plain_accuracy": script["accuracy"],
                }
            )
    return summary(
        found,
        {
            "seconds of an epoch ÷ plain script": [
                statistics.median(f["zoo_epoch_s"]) / statistics.median(f["plain_epoch_s"]) for f in found
            ],
        },
        {
            "accuracy": [f["zoo_accuracy"] for f in found],
            "accuracy of the plain script": [f["plain_accuracy"] for f in found],
        },
    )


class _Epochs:
    """Collects the start and end of a job's epochs by the server's clock, without the evaluation of validation data."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}

    def __call__(self, event: JobEvent) -> None:
        """See `Client.finetune`."""
        what = event.what
        epoch = what.epoch if isinstance(what, JobProgress | MetricValue) else 0
        training = isinstance(what, JobProgress) and what.phase == "training"
        measured = isinstance(what, MetricValue) and what.split == "train"
        if epoch and event.time is not None and (training or measured):
            at = event.time.timestamp()
            self._first.setdefault(epoch, at)
            self._last[epoch] = at

    def seconds(self) -> list[float]:
        """Of each epoch: from its first event to its last."""
        return [self._last[e] - self._first[e] for e in sorted(self._last) if self._last[e] > self._first[e]]
