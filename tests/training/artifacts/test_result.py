"""The version folder of a job: complete, or not there at all."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.cards.card import (
    Card,
)
from model_zoo.cards.tuned_parts import (
    HeadSpec,
)
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_items import read_golden_items
from model_zoo.materialised import Materialised
from model_zoo.versions import Versions
from service.datasets.dataset import DatasetInfo, DatasetKind, DatasetReport
from service.tasks.table import read_labels
from service.training.artifacts import result as result_module
from service.training.artifacts.result import write_labels, write_result
from service.training.artifacts.tuned_card import tuned_card
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import Predictions
from service.training.evaluation.mistakes import Mistake
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.protocol import Metric

LABELS = ("cat", "two\nlines", "<b>dog</b>")
HEAD = HeadSpec(kind="linear", inputs=4, outputs=3)


def order(tmp_path: Path, method: Method = Method.HEAD, incumbent: Path | None = None) -> WorkOrder:
    spec = JobSpec(base="efficientnet_lite0", dataset_id="d1", model="mine", task="image-classification", method=method)
    return WorkOrder(job_id="j1", spec=spec, home=tmp_path, rival=incumbent)


def base() -> Card:
    return Catalog.from_package().get("efficientnet_lite0")


def write(tmp_path: Path, method: Method = Method.HEAD, files: Mapping[str, Path] | None = None) -> Path:
    ordered = order(tmp_path, method)
    base_files = Materialised(tmp_path, tmp_path / "w", dict(files or {}), "ab" * 32)
    targets = np.arange(9) % 3
    held_out = Predictions(np.eye(3)[targets], targets, tuple(range(9)))
    write_result(
        ordered,
        tmp_path / "job",
        base=base(),
        base_files=base_files,
        dataset=DatasetInfo(
            id="d1",
            kind=DatasetKind.IMAGE_FOLDER,
            sha256="cd" * 32,
            size_bytes=1,
            labels=LABELS,
            report=DatasetReport(examples=30),
            created=datetime.now(UTC),
        ),
        card=tuned_card(base(), ordered, task="image-classification", labels=LABELS, head=HEAD, parameters=5),
        state={"head.out.weight": torch.ones(3, 4), "head.out.bias": torch.zeros(3)},
        golden=[({"pixel_values": np.ones(4, np.float32)}, {"logits": np.ones(3, np.float32)})],
        evaluation=evaluate("image-classification", LABELS, held_out, targets, seed=0),
        curves=[Metric(name="loss", split="train", value=float("inf"), step=0)],
        hyperparameters={"weight_decay": np.float64(0.1), "patience": None},
        splits={"train": (0, 1), "validation": (2,), "test": tuple(range(9))},
        mistakes=[Mistake(3, "a.jpg", "cat", "dog", 0.9, "", b"\xff\xd8")],
        training_s=1.0,
    )
    return tmp_path / "job" / "result"


def test_result_folder_is_published_with_its_contents(tmp_path: Path) -> None:
    folder = write(tmp_path)
    versions = Versions(tmp_path)
    number = versions.publish("mine", folder)
    versions.verify("mine", number)
    version = versions.open("mine", number)
    assert version.card.source.files["weights"].sha256 == version.files.digest  # type: ignore[union-attr]
    assert version.card.source.base_digest == "ab" * 32  # type: ignore[union-attr]
    assert version.lineage["hyperparameters"] == {"weight_decay": 0.1, "patience": None}
    assert read_labels(version.card, version.files.folder) == ("cat", "two lines", "<b>dog</b>")
    assert len(read_golden_items("mine", version.golden)) == 1
    report, render_page = versions.report("mine", number)
    assert report["metrics"]["accuracy"]["value"] == 1.0
    assert report["curves"] == [{"name": "loss", "split": "train", "value": None, "step": 0, "epoch": 0}]
    assert report["mistakes"] == [{"index": 3, "origin": "a.jpg", "expected": "cat", "predicted": "dog", "score": 0.9}]
    assert render_page.startswith(b"<!doctype html>")
    assert b"<b>dog" not in render_page


def test_crash_while_writing_leaves_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(result_module, "render_page", full)
        with pytest.raises(OSError, match="No space"):
            write(tmp_path)
    assert not (tmp_path / "job" / "result").exists()
    assert (write(tmp_path) / "manifest.json").is_file()
    assert not (tmp_path / "job" / ".result-draft").exists()


def test_base_files_are_copied_for_method_full_alone(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    for method, travels in ((Method.FULL, True), (Method.HEAD, False)):
        folder = write(tmp_path, method, {"tokenizer": tokenizer, "labels": tmp_path / "labels.txt"})
        assert (folder / "tokenizer.json").is_file() == travels
        assert ("tokenizer" in json.loads((folder / "manifest.json").read_text())["files"]) == travels


def test_line_breaks_in_class_names_do_not_shift_labels(tmp_path: Path) -> None:
    names = ("a\u2028b", "a\x0bb", "a\rb", "a\x85b", "", "zebra")
    write_labels(tmp_path / "labels.txt", names)
    card = tuned_card(base(), order(tmp_path), task="image-classification", labels=names, head=HEAD, parameters=5)
    assert read_labels(card, tmp_path) == names
    write_labels(tmp_path / "labels.txt", ("two\nlines", "zebra"))  # datasets never have such a class
    assert read_labels(card, tmp_path) == ("two lines", "zebra")
