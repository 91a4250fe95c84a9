"""Decisions that a tier changes on real photos and texts; the table of docs/tiers.md.

    python -m benchmarks.flips [--photos N] [--texts N]

Each network of each compiler and precision answers the labelled photos and texts that `examples/fetch_data.py` fetches, and is
compared with eager torch in fp32: the classes that the network itself knows, and the labels of the data by a linear classifier
on its features. The classifier is fitted on the eager features of one half of the examples and decides on the other half, both
ways. int8 is calibrated on a third of the examples and judged on the others. A flip is a decision that differs from that of
eager torch. Flips between classes whose eager logits differ by at most 0.05 (`UNDECIDED` of `service/verification/probes.py`)
are counted apart. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.load.inputs import task_of
from benchmarks.paths import zoo_home
from examples.fetch_data import TOPICS, make_photos, make_texts
from model_zoo.network import load_network
from model_zoo.store import Store
from service.engine.head_dispatch import features_of
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.compilers.compiler import OPENVINO, Compiler
from service.runtime.device import DevicePlan
from service.runtime.network import NetworkRuntime, Runtime
from service.runtime.precision import has_instructions
from service.tasks.base import Task
from service.training.evaluation.intervals import share_interval
from service.types import ImageInstance, Instance, Item, TextInstance
from service.verification.calibration import CALIBRATING as MOST_CALIBRATING
from service.verification.calibration import RealInputs
from service.verification.probes import UNDECIDED

ROWS = 8
"""Rows of a batch."""
CALIBRATING = 3
"""Every third example calibrates the int8 network, which is judged on the others."""


def photos(most: int) -> Iterator[tuple[Instance, str]]:
    """Photos with their classes."""
    for path in sorted(make_photos().glob("*/*"))[:most]:
        yield ImageInstance(path.read_bytes()), path.parent.name


def texts(most: int) -> Iterator[tuple[Instance, str]]:
    """Texts with their topics."""
    with make_texts("topics.csv", TOPICS).open(encoding="utf-8", newline="") as lines:
        for row in itertools.islice(csv.DictReader(lines), most):
            yield TextInstance(row["text"].encode()), row["topic"]


def answers(task: Task, runtime: Runtime, items: Sequence[Item]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The first output and the features of all items."""
    outputs, features = [], []
    for start in range(0, len(items), ROWS):
        batch = items[start : start + ROWS]
        got = runtime.run(task.collate(batch)[0])
        outputs.append(np.asarray(got[task.card.signature.outputs[0].name], np.float32))
        features.append(features_of(task.card, got, len(batch)))
    return np.concatenate(outputs), np.concatenate(features)


def classifiers(features: NDArray[np.float32], labels: NDArray[Any]) -> list[Any]:
    """Fitted on the even examples, and on the odd ones."""
    made = [make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)) for _ in range(2)]
    return [model.fit(features[half::2], labels[half::2]) for half, model in enumerate(made)]


def decide(models: Sequence[Any], features: NDArray[np.float32], labels: NDArray[Any]) -> NDArray[Any]:
    """The label of each example by the classifier that has not seen it."""
    decided = np.empty_like(labels)
    for half, model in enumerate(models):
        decided[1 - half :: 2] = model.predict(features[1 - half :: 2])
    return decided


def row(name: str, candidate: str, what: str, flips: int, count: int, near: int | None, truth: str = "– | –") -> str:
    """A line of the table. `near` flips are between classes that are nearly equal, beside `flips`."""
    share = share_interval(flips / count, count)
    beside = "–" if near is None else str(near)
    figures = f"{flips} of {count} | {share.low:.1%} to {share.high:.1%} | {beside} | {truth}"
    return f"| `{name}` | {candidate} | {what} | {figures} |"


def own_classes(before: NDArray[np.float32], after: NDArray[np.float32]) -> tuple[int, int]:
    """Flips of the network's own classes, and those among nearly equal classes, which the former leaves out."""
    first, chosen = before.argmax(1), after.argmax(1)
    rows = np.arange(len(before))
    undecided = before[rows, first] - before[rows, chosen] <= UNDECIDED
    return int(((first != chosen) & ~undecided).sum()), int(((first != chosen) & undecided).sum())


def measure(name: str, examples: Sequence[tuple[Instance, str]], what: str, folder: Path) -> Iterator[str]:
    """The lines of a model."""
    store = Store(zoo_home())
    task = task_of(name, store)
    found = store.find(task.card)
    assert found is not None
    outcomes = task.preprocess([instance for instance, _ in examples], [f"{i}" for i in range(len(examples))])
    kept = [(item, label) for item, (_, label) in zip(outcomes, examples, strict=True) if isinstance(item, Item)]
    items, labels = [item for item, _ in kept], np.array([label for _, label in kept])
    logits, features = answers(task, NetworkRuntime(load_network(task.card, found), "cpu"), items)
    models = classifiers(features, labels)
    expected = decide(models, features, labels)
    compiler = Compiler(folder, store, DevicePlan("cpu", 1, 1))
    precisions = ("int8", "bf16", "fp32") if has_instructions("bf16", "cpu") else ("int8", "fp32")
    calibrating = items[::CALIBRATING]
    rest = [n for n in range(len(items)) if n % CALIBRATING]
    for by, precision in itertools.product(compiler.compilers, precisions):
        if precision == "int8" and by != OPENVINO:
            continue
        try:
            inputs = partial(RealInputs(tuple(calibrating[:MOST_CALIBRATING])).batches, task)
            runtime = compiler.compile(task.card, precision, by, inputs).load()
        except CannotCompile as error:
            yield f"| `{name}` | {by} {precision} | {error} | – | – | – | – | – |"
            continue
        got, got_features = answers(task, runtime, items)
        judged = rest if precision == "int8" else [*range(len(items))]
        if task.card.task.endswith("-classification"):
            flips, near = own_classes(logits[judged], got[judged])
            yield row(name, f"{by} {precision}", "its own classes", flips, len(judged), near)
        right = labels[judged]
        before, after = expected[judged], decide(models, got_features, labels)[judged]
        truth = f"{(before == right).mean():.3f} | {(after == right).mean():.3f}"
        yield row(name, f"{by} {precision}", what, int((after != before).sum()), len(judged), None, truth)
        runtime.free()


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=10_000, help="how many photos at most; 0: none")
    parser.add_argument("--texts", type=int, default=10_000, help="how many texts at most; 0: none")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    print(
        "| model | network | decisions | flips | 95 % | between nearly equal classes | accuracy, eager fp32 | accuracy |"
    )
    print("|---|---|---|---|---|---|---|---|")
    data: list[tuple[str, Callable[[int], Iterator[tuple[Instance, str]]], int, str]] = [
        ("efficientnet_lite0", photos, arguments.photos, "8 classes of photos"),
        ("all_minilm_l6_v2", texts, arguments.texts, "10 topics of texts"),
    ]
    with tempfile.TemporaryDirectory(prefix="zoo-flips-") as folder:
        for name, source, most, what in data:
            if examples := list(source(most)):
                for line in measure(name, examples, what, Path(folder)):
                    print(line, flush=True)
    print(f"\n{time.monotonic() - began:.0f} s, torch {torch.__version__}")


if __name__ == "__main__":
    main()
