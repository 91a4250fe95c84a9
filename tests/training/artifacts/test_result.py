"""The version folder of a job: complete or not there, and every card in it valid."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.cards.card import (
    Card,
    HeadSpec,
    ImageRecipe,
    NumberColumn,
    RecordRecipe,
    RowRecipe,
    SeriesRecipe,
    TargetScale,
)
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_items import read_golden_items
from model_zoo.store import Materialised
from model_zoo.versions import Versions
from service.datasets.dataset import DatasetInfo, DatasetKind, Report
from service.tasks.table import read_labels
from service.training.artifacts import result as result_module
from service.training.artifacts.finalize import with_tolerance
from service.training.artifacts.result import write_labels, write_result
from service.training.artifacts.tuned_card import tuned_card
from service.training.evaluation.evaluate import evaluate
from service.training.evaluation.measurements import Predictions
from service.training.evaluation.mistakes import Mistake
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.protocol import Metric
from service.verification.probes import Comparison, closeness_problem

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
            report=Report(examples=30),
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


def test_the_folder_can_be_published_and_holds_what_it_says(tmp_path: Path) -> None:
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


def test_a_crash_while_writing_leaves_no_result_and_the_next_attempt_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(result_module, "render_page", full)
        with pytest.raises(OSError, match="No space"):
            write(tmp_path)
    assert not (tmp_path / "job" / "result").exists()
    assert (write(tmp_path) / "manifest.json").is_file()
    assert not (tmp_path / "job" / ".result-draft").exists()


def test_companions_of_the_base_travel_with_a_full_version_alone(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text("{}")
    for method, travels in ((Method.FULL, True), (Method.HEAD, False)):
        folder = write(tmp_path, method, {"tokenizer": tokenizer, "labels": tmp_path / "labels.txt"})
        assert (folder / "tokenizer.json").is_file() == travels
        assert ("tokenizer" in json.loads((folder / "manifest.json").read_text())["files"]) == travels


def test_no_character_in_a_class_name_shifts_the_names_behind_it(tmp_path: Path) -> None:
    names = ("a\u2028b", "a\x0bb", "a\rb", "a\x85b", "", "zebra")
    write_labels(tmp_path / "labels.txt", names)
    card = tuned_card(base(), order(tmp_path), task="image-classification", labels=names, head=HEAD, parameters=5)
    assert read_labels(card, tmp_path) == names
    write_labels(tmp_path / "labels.txt", ("two\nlines", "zebra"))  # no data set has such a class
    assert read_labels(card, tmp_path) == ("two lines", "zebra")


# ── cards ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_record_has_the_picture_and_its_columns(tmp_path: Path) -> None:
    recipe = base().recipe
    assert isinstance(recipe, ImageRecipe)
    row = RowRecipe(kind="row", numbers=(NumberColumn(name="rooms", mean=0, std=1, fill=0),))
    head = HeadSpec(kind="linear", inputs=5, outputs=1, output="value", columns=1)
    scale = TargetScale(mean=1, std=2)
    card = tuned_card(
        base(),
        order(tmp_path),
        task="image-tabular-regression",
        labels=(),
        head=head,
        target=scale,
        recipe=RecordRecipe(kind="record", image=recipe, row=row),
        parameters=5,
    )
    assert [(spec.name, spec.shape) for spec in card.signature.inputs] == [
        ("pixel_values", (-1, 3, 224, 224)),
        ("columns", (-1, 1)),
    ]
    assert card.raw_input == "record"
    assert card.labels is None
    assert [spec.name for spec in card.signature.outputs] == ["value"]


def test_a_forecast_has_its_horizon_and_channels(tmp_path: Path) -> None:
    recipe = SeriesRecipe(kind="series", context=24, horizon=6, channels=2)
    card = tuned_card(
        Catalog.from_package().get("series_gru"),
        order(tmp_path, Method.FULL),
        task="time-series-forecasting",
        labels=(),
        recipe=recipe,
        parameters=5,
    )
    assert card.signature.inputs[0].shape == (-1, 24, 2)
    assert card.signature.outputs[0].shape == (-1, 6, 2)


def test_the_tolerance_follows_the_size_of_the_outputs(tmp_path: Path) -> None:
    card = tuned_card(
        base(), order(tmp_path), task="image-classification", labels=LABELS, head=HEAD, parameters=5, output_size=40.0
    )
    assert card.tolerance.max_abs_error == pytest.approx(0.04)
    assert card.tolerance.compiled.max_abs_error is None
    assert card.tolerance.reduced_precision.max_abs_error is None  # which class is first is what counts


@pytest.mark.parametrize(("output_size", "most"), [(0.2, 0.05), (40.0, 2.0)])
def test_a_number_in_reduced_precision_is_held_against_its_error(
    tmp_path: Path, output_size: float, most: float
) -> None:
    """Not against a cosine, which is the sign where there is one number."""
    card = tuned_card(
        base(), order(tmp_path), task="regression", labels=(), parameters=5, target=TargetScale(mean=1, std=2),
        head=HeadSpec(kind="linear", inputs=5, outputs=1, output="value"), output_size=output_size,
    )  # fmt: skip
    for precision in ("fp32", "bf16"):
        allowed = most if precision == "bf16" else card.tolerance.max_abs_error
        for error, fine in ((0.9 * allowed, True), (1.1 * allowed, False)):
            found = Comparison(error, -1.0, None)  # the sign turned
            assert (closeness_problem(card, precision, found) is None) == fine


def test_a_forecast_in_reduced_precision_is_held_against_its_error_in_its_units(tmp_path: Path) -> None:
    recipe = SeriesRecipe(kind="series", context=24, horizon=2, channels=1)
    card = tuned_card(
        Catalog.from_package().get("series_gru"), order(tmp_path, Method.FULL), task="time-series-forecasting",
        labels=(), recipe=recipe, parameters=5,
    )  # fmt: skip
    answers = [({}, {"forecast": np.array([[1e-4], [-2e-4]], np.float32)})]
    assert with_tolerance(card, answers).tolerance.reduced_precision.max_abs_error == pytest.approx(1e-5)
