"""Labelled spans of texts are learned by every method, and answered as they were measured."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model_zoo.catalog import Catalog
from model_zoo.network import load_network
from model_zoo.references.reference import parse_reference
from service.datasets.dataset import TextSpan
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.training.data.prepared import PreparedExamples
from service.training.data.tagged_tokens import TaggedTexts, token_outputs
from service.training.evaluation.incumbent import OpenedIncumbent
from service.training.evaluation.measurements import NotCompared
from service.training.failures import CannotTrain
from service.training.job_spec import Method
from service.training.methods import token_classification
from service.training.methods.token_classification import MAX_SCORES, MAX_TOKENS, most_tokens, train_tokens
from service.training.protocol import Finished, Log
from service.training.stop_signal import StopRequested, StopSignal
from service.training.training_job import open_job
from tests.support.datasets.dataset_files import zipped
from tests.support.references.tiny_repositories import sentence_encoder
from tests.support.references.tiny_texts import token_classifier
from tests.support.training.data_sets import add_dataset
from tests.support.training.method_runs import method_order, publish, report, run_method

NAMES, PLACES = ("anna", "karl", "maria"), ("rome", "oslo")
METRICS = {"f1", "precision", "recall", "macro_f1"}


def conll(seed: int, sentences: int = 60) -> bytes:
    """Sentences with names and places; a place has two words."""
    rng = random.Random(seed)
    lines = []
    for _ in range(sentences):
        words = [("the", "O"), ("keeper", "O"), (rng.choice(NAMES), "B-PER"), ("climbed", "O")]
        if rng.random() < 0.6:
            words += [("to", "O"), ("old", "B-LOC"), (rng.choice(PLACES), "I-LOC")]
        lines += [f"{word}\t{tag}" for word, tag in [*words, (f"x{rng.randrange(1000)}", "O")]] + [""]
    return "\n".join(lines).encode()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.references.pull.library_answers", lambda _, asked: answer(asked))
        for name, make in {"tiny_spans": token_classifier, "tiny_sentence": sentence_encoder}.items():
            (root / name).mkdir()
            pull_reference(parse_reference(f"local:{make(root / name)}"), root / "home")
    return root / "home"


def order(home: Path, base: str, dataset: str, method: Method, incumbent: Path | None = None, **more: Any) -> Any:
    settings = {} if method is Method.HEAD else {"epochs": 3, "batch_size": 8}
    return method_order(home, base, dataset, "token-classification", method, incumbent, **(settings | more))


@pytest.mark.parametrize(
    ("base", "method"),
    [
        ("tiny_spans", Method.HEAD),
        ("tiny_spans", Method.LORA),
        ("tiny_spans", Method.FULL),
        ("tiny_sentence", Method.HEAD),
        ("tiny_sentence", Method.LORA),
    ],
)
def test_spans_are_learned_by_each_method(base: str, method: Method, home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, conll(list(Method).index(method) + 10 * len(base)), "names.conll")
    given = order(home, base, dataset, method)
    assert isinstance(run_method(train_tokens, given, tmp_path / "job")[-1], Finished)
    found = report(tmp_path / "job")
    assert (set(found["metrics"]), found["primary"]) == (METRICS, "f1")
    assert found["baseline"]["kind"] == "each word's most frequent tag"
    assert [one["label"] for one in found["per_class"]] == ["LOC", "PER"]
    assert found["metrics"]["f1"]["value"] > 0.5
    version = publish(home, tmp_path / "job")
    card = version.card
    assert (card.task, card.signature.outputs[0].shape) == ("token-classification", (-1, -1, 5))
    assert card.head is not None
    assert card.head.per_token
    assert (version.files.folder / "labels.txt").read_text().split() == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    if method is not Method.FULL:
        state = load_file(tmp_path / "job" / "result" / "model.safetensors")
        assert all(name.startswith("head.") or ".lora_" in name for name in state), "the base's weights are the base's"


def test_paused_and_resumed_job_gives_the_same_figures(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, conll(3), "names.conll")
    given = order(home, "tiny_spans", dataset, Method.LORA, checkpoint_steps=3, class_weights="balanced")
    run_method(train_tokens, given, tmp_path / "whole")
    with pytest.raises(StopRequested):
        run_method(train_tokens, given, tmp_path / "paused", pause_at=2)
    run_method(train_tokens, given, tmp_path / "paused")
    assert report(tmp_path / "paused")["metrics"] == report(tmp_path / "whole")["metrics"]
    assert report(tmp_path / "paused")["curves"] == report(tmp_path / "whole")["curves"]


def test_next_version_is_measured_on_the_same_texts(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, conll(4), "names.conll")
    run_method(train_tokens, order(home, "tiny_spans", dataset, Method.FULL), tmp_path / "first")
    first = publish(home, tmp_path / "first")
    again = order(home, "tiny_spans", dataset, Method.FULL, first.files.folder)
    run_method(train_tokens, again, tmp_path / "again")
    rival = report(tmp_path / "again")["rival"]
    assert rival["metrics"]["f1"] == report(tmp_path / "first")["metrics"]["f1"]["value"]
    assert rival["difference"]["value"] == 0.0


def test_text_longer_than_the_network_reads_counts_its_spans_as_not_found(home: Path, tmp_path: Path) -> None:
    long = "".join("the\tO\n" for _ in range(90)) + "anna\tB-PER\n\n"
    dataset = add_dataset(home, long.encode() * 3 + conll(5), "names.conll")
    messages = run_method(train_tokens, order(home, "tiny_spans", dataset, Method.HEAD), tmp_path / "job")
    warnings = [message.text for message in messages if isinstance(message, Log) and message.level == "warning"]
    assert any("texts are longer than the 64 tokens that the network reads" in text for text in warnings)
    assert report(tmp_path / "job")["accounting"]["truncated"] > 0


def test_padded_texts_get_the_tags_and_logits_that_they_get_alone(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, conll(6), "names.conll")
    given = order(home, "tiny_spans", dataset, Method.FULL)
    run_method(train_tokens, given, tmp_path / "job")
    version = publish(home, tmp_path / "job")
    network = load_network(version.card, version.files)
    from service.tasks.table import task_for  # after the network is there

    job = open_job(given, tmp_path / "job")
    prepared = PreparedExamples(job.examples, task_for(version.card, version.files))
    texts, indices = TaggedTexts(job.examples, prepared), tuple(range(12))
    together = token_outputs(network, "logits", prepared, indices, 12, StopSignal())
    batch = texts.collate(indices)
    for index in indices:
        [alone] = token_outputs(network, "logits", prepared, (index,), 1, StopSignal())
        np.testing.assert_allclose(together[index], alone, atol=1e-3)
        [item] = prepared.items((index,))
        tags = texts.tags(index, item)
        assert batch.targets[index, : len(tags)].tolist() == tags.tolist()
        assert (batch.targets[index, len(tags) :] == -100).all()
    assert torch.isfinite(batch.inputs["input_ids"].float()).all()


def test_spans_of_characters_are_learned_from_jsonl(home: Path, tmp_path: Path) -> None:
    rows = []
    for i in range(40):
        text = f"the keeper {NAMES[i % 3]}, climbed {i}"
        start = text.index(NAMES[i % 3])
        rows.append(
            f'{{"text": "{text}", "spans": [{{"start": {start}, "end": {start + len(NAMES[i % 3])}, "label": "PER"}}]}}'
        )
    dataset = add_dataset(home, "\n".join(rows).encode(), "names.jsonl")
    run_method(train_tokens, order(home, "tiny_spans", dataset, Method.HEAD), tmp_path / "job")
    assert report(tmp_path / "job")["metrics"]["f1"]["value"] > 0.9
    assert open_job(order(home, "tiny_spans", dataset, Method.HEAD), tmp_path / "job").examples[0].target == (
        TextSpan(11, 15, 0),
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotTrain("an example cannot be read any more"), "it takes other inputs"),
        (KeyError("logits"), "it takes other inputs"),
        (RuntimeError("sizes do not match"), "it gave no answers to these texts"),
    ],
)
def test_next_version_says_why_the_one_before_it_was_not_measured(
    error: Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    card = Catalog.from_package().get("all_minilm_l6_v2")
    opened = OpenedIncumbent(card, cast(Any, None), cast(Any, None))
    for name, fake in {"open_incumbent": lambda _: opened, "task_for": lambda *_: None, "token_outputs": fails}.items():
        monkeypatch.setattr(token_classification, name, fake)
    job, data = SimpleNamespace(examples=()), SimpleNamespace(splits={"test": ()})
    found = token_classification._incumbent(cast(Any, job), cast(Any, data), StopSignal())
    assert isinstance(found, NotCompared)
    assert found.reason == reason


def test_head_of_many_tags_is_fitted_on_fewer_tokens() -> None:
    assert most_tokens(9) == MAX_TOKENS
    assert 0 < 1001 * most_tokens(1001) <= MAX_SCORES


def test_held_out_texts_without_spans_end_the_job_before_training(home: Path, tmp_path: Path) -> None:
    files = {"train.conll": conll(7), "test.conll": b"the\tO\nkeeper\tO\n\nhe\tO\nclimbed\tO\n"}
    dataset = add_dataset(home, zipped(files), "names.zip")
    with pytest.raises(CannotTrain, match="no held-out text has a span"):
        run_method(train_tokens, order(home, "tiny_spans", dataset, Method.FULL), tmp_path / "job")
    assert not list((tmp_path / "job").rglob("*.safetensors")), "nothing was trained"
