"""Pairs of texts are learned by every method, and read by the tuned version as they were in training."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import numpy as np
import pytest

from model_zoo.references.reference import parse_reference
from service.datasets.dataset import Columns
from service.errors import InvalidInput
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.tasks.table import task_for
from service.training.job_spec import Method
from service.training.methods.full import train_network
from service.training.methods.head import train_head
from service.training.protocol import Finished
from service.training.stop_signal import StopRequested
from service.types import Item, TextInstance, TextPairInstance
from tests.support.references.tiny_repositories import sentence_encoder
from tests.support.references.tiny_texts import pair_classifier
from tests.support.training.data_sets import add_dataset
from tests.support.training.method_runs import Train, method_order, publish, report, run_method

WORDS = ("film", "keeper", "stairs", "lamp")


def pairs_csv(seed: int, rows: int = 96, numbers: bool = False) -> bytes:
    """Pairs that belong together if both name the same thing."""
    rng = random.Random(seed)
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(["premise", "hypothesis", "label"])
    for row in range(rows):
        one = rng.choice(WORDS)
        other = one if row % 2 else rng.choice([word for word in WORDS if word != one])
        same = one == other
        target = (1.5 if same else 0.25) + row / 1000 if numbers else ("same" if same else "other")
        writer.writerow([f"the old {one} {row}", f"a {other} {seed}", target])
    return written.getvalue().encode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for name, make in {"tiny_pairs": pair_classifier, "tiny_sentence": sentence_encoder}.items():
            (root / name).mkdir()
            pull_reference(parse_reference(f"local:{make(root / name)}"), root / "home")
    return root / "home"


@pytest.mark.parametrize(
    ("base", "method", "numbers"),
    [
        ("tiny_pairs", Method.HEAD, False),
        ("tiny_pairs", Method.LORA, False),
        ("tiny_pairs", Method.FULL, False),
        ("tiny_pairs", Method.HEAD, True),
        ("tiny_sentence", Method.HEAD, False),
    ],
)
def test_pairs_are_learned_by_each_method(base: str, method: Method, numbers: bool, home: Path, tmp_path: Path) -> None:
    seed = 10 * list(Method).index(method) + len(base) + numbers
    dataset = add_dataset(home, pairs_csv(seed, numbers=numbers), "pairs.csv")
    train: Train = train_head if method is Method.HEAD else train_network
    settings = {"epochs": 4} if method is Method.HEAD else {"epochs": 2, "batch_size": 16}
    task = "regression" if numbers else "text-classification"
    given = method_order(home, base, dataset, task, method, **settings)
    assert isinstance(run_method(train, given, tmp_path / "job")[-1], Finished)
    version = publish(home, tmp_path / "job")
    card = version.card
    assert card.recipe.pairs
    assert card.source.columns.text_pair == "hypothesis"
    assert set(report(tmp_path / "job")["metrics"]) >= ({"mae"} if numbers else {"accuracy"})


def test_tuned_version_reads_a_pair_as_training_did_and_refuses_a_text_alone(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, pairs_csv(99), "pairs.csv")
    given = method_order(home, "tiny_pairs", dataset, "text-classification", Method.FULL, epochs=1)
    run_method(train_network, given, tmp_path / "job")
    version = publish(home, tmp_path / "job")
    task = task_for(version.card, version.files)
    pair = TextPairInstance(b"the old film", b"a lamp")
    items = task.preprocess([pair, TextInstance(b"the old film")], ["instances[0]", "instances[1]"])
    assert isinstance(items[0], Item)
    assert set(items[0].tensors["token_type_ids"].tolist()) == {0, 1}
    assert isinstance(items[1], InvalidInput)
    assert items[1].problem.startswith("expected a text_pair")


def test_job_that_was_paused_and_resumed_gives_the_same_figures(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, pairs_csv(7), "pairs.csv", columns=Columns(text="premise", text_pair="hypothesis"))
    given = method_order(
        home, "tiny_pairs", dataset, "text-classification", Method.LORA, epochs=2, batch_size=16, checkpoint_steps=2
    )
    run_method(train_network, given, tmp_path / "whole")
    with pytest.raises(StopRequested):
        run_method(train_network, given, tmp_path / "paused", pause_at=2)
    run_method(train_network, given, tmp_path / "paused")
    assert report(tmp_path / "paused")["metrics"] == report(tmp_path / "whole")["metrics"]
    np.testing.assert_equal(report(tmp_path / "paused")["curves"], report(tmp_path / "whole")["curves"])
