"""Any number of classes for each example is learned by every method, and answered by sigmoids."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_zoo.references.reference import parse_reference
from service.datasets.dataset import Columns
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.tasks.classification import LabelAnswers
from service.tasks.table import read_labels
from service.training.heads.losses import balanced_class_weights, best_sharpness, example_losses
from service.training.hyperparameters import Hyperparameters
from service.training.job_spec import Method
from service.training.methods.full import train_network
from service.training.methods.head import train_head
from service.training.protocol import Finished
from service.training.stop_signal import StopRequested
from service.types import Item, Options
from service.verification.judgement import judge
from tests.support.datasets.dataset_files import lines, picture, zipped
from tests.support.references.tiny_repositories import text_classifier, timm_repository
from tests.support.training.data_sets import add_dataset
from tests.support.training.method_runs import Train, method_order, publish, report, run_method

WORDS = ("film", "keeper", "stairs")
METRICS = {"mean_average_precision", "micro_f1", "macro_f1", "subset_accuracy", "log_loss"}


def tagged_texts(seed: int, rows: int = 96) -> bytes:
    """Texts whose classes are the things that they name, none to three."""
    rng = random.Random(seed)
    made = []
    for row in range(rows):
        named = [word for word in WORDS if rng.random() < 0.4]
        made.append({"text": f"the {' and the '.join(named) or 'lamp'} {row}", "label": named})
    return lines(made)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for name, make in {"tiny_text": text_classifier, "tiny_timm": timm_repository}.items():
            (root / name).mkdir()
            pull_reference(parse_reference(f"local:{make(root / name)}"), root / "home")
    return root / "home"


def run(home: Path, folder: Path, base: str, dataset: str, task: str, method: Method, **more: Any) -> Any:
    train: Train = train_head if method is Method.HEAD else train_network
    settings = {"epochs": 4} if method is Method.HEAD else {"epochs": 2, "batch_size": 16}
    given = method_order(home, base, dataset, task, method, **(settings | more))
    assert isinstance(run_method(train, given, folder)[-1], Finished)
    return report(folder)


@pytest.mark.parametrize("method", [Method.HEAD, Method.LORA, Method.FULL])
def test_texts_with_several_classes_are_learned_by_each_method(method: Method, home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, tagged_texts(list(Method).index(method)), "texts.jsonl")
    found = run(home, tmp_path / "job", "tiny_text", dataset, "text-classification", method)
    assert set(found["metrics"]) == METRICS
    assert (found["primary"], found["threshold"], found["confusion"]) == ("mean_average_precision", 0.5, None)
    assert found["baseline"]["kind"] == "each class by its share"
    assert found["metrics"]["mean_average_precision"]["value"] > found["baseline"]["mean_average_precision"]
    version = publish(home, tmp_path / "job")
    assert version.card.activation == "sigmoid"
    answers = LabelAnswers(version.card, read_labels(version.card, version.files.folder))
    row = {version.card.signature.outputs[0].name: np.array([3.0, -4.0, 0.5], np.float32)}
    told = answers.postprocess(row, Item({}), Options(threshold=0.5))
    assert [label.name for label in told.labels] == ["film", "stairs"]


@pytest.mark.parametrize("method", [Method.HEAD, Method.FULL])
def test_pictures_with_several_classes_are_learned(method: Method, home: Path, tmp_path: Path) -> None:
    files: dict[str, Any] = {f"{i}.png": picture(i + 100 * list(Method).index(method)) for i in range(24)}
    table = "file,label\n" + "".join(f"{i}.png,{('a|b', 'b', 'a', '|')[i % 4]}\n" for i in range(24))
    data = zipped({**files, "labels.csv": table})
    dataset = add_dataset(home, data, "photos.zip", columns=Columns(label_separator="|"))
    found = run(home, tmp_path / "job", "tiny_timm", dataset, "image-classification", method)
    assert set(found["metrics"]) == METRICS
    assert publish(home, tmp_path / "job").card.activation == "sigmoid"


def test_paused_and_resumed_job_gives_the_same_figures(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, tagged_texts(9), "texts.jsonl")
    more = {"epochs": 2, "batch_size": 16, "checkpoint_steps": 2, "class_weights": "balanced"}
    given = method_order(home, "tiny_text", dataset, "text-classification", Method.LORA, **more)
    run_method(train_network, given, tmp_path / "whole")
    with pytest.raises(StopRequested):
        run_method(train_network, given, tmp_path / "paused", pause_at=2)
    run_method(train_network, given, tmp_path / "paused")
    assert report(tmp_path / "paused")["metrics"] == report(tmp_path / "whole")["metrics"]
    assert report(tmp_path / "paused")["curves"] == report(tmp_path / "whole")["curves"]


def test_next_version_is_compared_and_one_of_single_classes_is_not(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, tagged_texts(21), "texts.jsonl")
    run(home, tmp_path / "first", "tiny_text", dataset, "text-classification", Method.HEAD)
    first = publish(home, tmp_path / "first")
    again = method_order(home, "tiny_text", dataset, "text-classification", Method.LORA, first.files.folder, epochs=1)
    run_method(train_network, again, tmp_path / "again")
    assert set(report(tmp_path / "again")["rival"]["metrics"]) == METRICS
    single = lines([{"text": f"the {word} {i}", "label": word} for i in range(16) for word in WORDS])
    other = method_order(
        home,
        "tiny_text",
        add_dataset(home, single, "one.jsonl"),
        "text-classification",
        Method.HEAD,
        first.files.folder,
    )
    run_method(train_head, other, tmp_path / "other")
    assert report(tmp_path / "other")["not_compared"] == "it does not give an example one class, as these data do"


def test_html_report_states_the_threshold(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, tagged_texts(31), "texts.jsonl")
    run(home, tmp_path / "job", "tiny_text", dataset, "text-classification", Method.HEAD)
    page = (tmp_path / "job" / "result" / "report.html").read_text()
    assert "a class counts from probability 0.5 on" in page
    assert "Mean average precision" in page
    assert (
        json.loads((tmp_path / "job" / "result" / "report.json").read_text())["per_class"][0]["average_precision"] > 0
    )


# ── losses and weights ────────────────────────────────────────────────────────────────────────────────────────────


def test_loss_of_several_classes_is_the_mean_binary_cross_entropy() -> None:
    logits, flags = torch.randn(5, 3, dtype=torch.float64), (torch.rand(5, 3) < 0.5).float()
    p = torch.sigmoid(logits)
    expected = -(flags * p.log() + (1 - flags) * (1 - p).log()).mean(dim=1)
    torch.testing.assert_close(example_losses(logits, flags), expected)
    assert best_sharpness(torch.zeros(5, 3, dtype=torch.float64), flags) == pytest.approx(1.0)


def test_balanced_weights_make_those_that_have_a_class_count_as_much_as_the_others() -> None:
    flags = torch.zeros(100, 2)
    flags[:10, 0], flags[:50, 1] = 1, 1
    weights = balanced_class_weights(Hyperparameters(class_weights="balanced"), flags, 2)
    assert weights is not None
    torch.testing.assert_close(weights, torch.tensor([9.0, 1.0]))


def test_change_of_one_class_of_an_example_is_a_flip(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, tagged_texts(41), "texts.jsonl")
    run(home, tmp_path / "job", "tiny_text", dataset, "text-classification", Method.HEAD)
    card = publish(home, tmp_path / "job").card
    truth = np.array([[1.0, 0.0, 1.0]] * 50)
    reference = np.where(truth > 0, 2.0, -2.0).astype(np.float32)
    other = reference.copy()
    assert judge(card, "compiled bf16", reference, other, truth).flips == 0
    other[:3, 1] = 0.1
    found = judge(card, "compiled bf16", reference, other, truth)
    assert (found.flips, found.holds) == (3, False)
