"""Method `head` on real photos and texts with real backbones: from a data set to a version folder that loads."""

from __future__ import annotations

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_items import read_golden_items
from model_zoo.network import load_network
from model_zoo.store import Store
from model_zoo.versions import Versions
from service.datasets.dataset import Columns, DatasetKind
from service.datasets.examples import open_dataset
from service.datasets.splits import split_examples
from service.tasks.table import task_for
from service.training.failures import CannotTrain
from service.training.job_spec import Method, WorkOrder
from service.training.methods.head import train_head
from service.training.protocol import Finished, Log, Metric, Progress
from service.types import ImageInstance, Item, Options, RecordInstance, Regression, RowInstance
from tests.support.training.data_sets import (
    add_dataset,
    cached_features,
    fortunes,
    head_order,
    home_with_weights,
    photos_zip,
    run_head,
    stamps,
    texts_csv,
    voices_zip,
)
from tests.support.training.method_runs import method_order, publish, report, run_method

pytestmark = [pytest.mark.weights, pytest.mark.component]

CLASSES = ("birds", "coins", "flowers")
TOPICS = ("computers", "food", "love")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, served: object, zoo_home: Path) -> Path:
    for name in ("efficientnet_lite0", "all_minilm_l6_v2", "speaker_lstm"):
        served(name)  # type: ignore[operator]  # fetched, or the test is skipped
    return home_with_weights(tmp_path_factory.mktemp("head"), zoo_home)


@pytest.fixture(scope="module")
def photos(home: Path) -> str:
    return add_dataset(home, photos_zip(stamps(CLASSES, 14)), "photos.zip")


@pytest.fixture(scope="module")
def texts(home: Path) -> str:
    return add_dataset(home, texts_csv(fortunes(TOPICS, 40)), "texts.csv")


@pytest.fixture(scope="module")
def photo_job(home: Path, photos: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[WorkOrder, Path]:
    folder = tmp_path_factory.mktemp("photos") / "job"
    order = head_order(home, photos, "efficientnet_lite0", "image-classification", "my_photos")
    messages = run_head(order, folder)
    assert isinstance(messages[-1], Finished)
    assert {m.phase for m in messages if isinstance(m, Progress)} >= {
        "features",
        "training",
        "evaluation",
        "publishing",
    }
    ratios = [m.ratio for m in messages if isinstance(m, Progress)]
    assert ratios == sorted(ratios)
    assert any(isinstance(m, Metric) and m.split == "validation" for m in messages)
    return order, folder


def test_photos_are_classified_better_than_baseline(photo_job: tuple[WorkOrder, Path]) -> None:
    _, folder = photo_job
    report = json.loads((folder / "result" / "report.json").read_text())
    assert report["metrics"]["accuracy"]["value"] > 0.8
    assert report["baseline"]["accuracy"] < 0.6
    assert report["baseline"]["kind"] == "always the commonest class"
    assert report["primary"] == "accuracy"
    assert sum(report["splits"].values()) == 42
    assert np.sum(report["confusion"]["matrix"]) == report["splits"]["test"]


def test_published_version_gives_same_answers(photo_job: tuple[WorkOrder, Path], home: Path, tmp_path: Path) -> None:

    order, folder = photo_job
    shutil.copytree(folder / "result", tmp_path / "result")
    versions = Versions(home)
    number = versions.publish("my_photos", tmp_path / "result")
    versions.verify("my_photos", number)
    version = versions.open("my_photos", number)
    assert versions.find(version.card) is not None
    assert version.lineage["job_id"] == order.job_id
    assert version.lineage["hyperparameters"]["head"] == "linear"

    base = Catalog.from_package().get("efficientnet_lite0")
    base_files = Store(home).find(base)
    assert base_files is not None
    assert version.lineage["base_sha256"] == base_files.digest
    network = load_network(version.card, version.files, base_files)
    golden = read_golden_items("my_photos", version.golden)
    assert golden
    for item in golden:
        inputs = {name: torch.from_numpy(array)[None] for name, array in item.inputs.items()}
        with torch.inference_mode():
            outputs = network(**inputs)
        error = np.abs(outputs["logits"][0].numpy() - item.outputs["logits"]).max()
        assert error <= version.card.tolerance.max_abs_error

    task = task_for(version.card, version.files)
    [photo] = stamps(("coins",), 1)["coins"]
    [row] = task.preprocess([ImageInstance(photo.read_bytes())], ["photo"])
    assert isinstance(row, Item)
    with torch.inference_mode():
        logits = network(pixel_values=torch.from_numpy(row.tensors["pixel_values"])[None])["logits"][0].numpy()
    answer = task.postprocess({"logits": logits}, row, Options())
    assert answer.labels[0].name == "coins"  # type: ignore[union-attr]


def test_second_job_with_same_seed_gives_same_weights_from_cached_features(
    photo_job: tuple[WorkOrder, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, folder = photo_job

    def forbidden(*_: object) -> None:
        raise AssertionError("the backbone was loaded although its features are there")

    monkeypatch.setattr("service.training.data.features.load_network", forbidden)
    run_head(order, tmp_path / "again")
    first, second = ((f / "result" / "model.safetensors").read_bytes() for f in (folder, tmp_path / "again"))
    assert first == second


def test_text_job_is_compared_with_incumbent(home: Path, texts: str, tmp_path: Path) -> None:
    order = head_order(home, texts, "all_minilm_l6_v2", "text-classification", "my_topics")
    run_head(order, tmp_path / "1")
    report = json.loads((tmp_path / "1" / "result" / "report.json").read_text())
    assert report["metrics"]["accuracy"]["value"] > 0.6
    assert report["rival"] is None

    served_now = tmp_path / "7"
    (tmp_path / "1" / "result").rename(served_now)
    weaker = head_order(
        home, texts, "all_minilm_l6_v2", "text-classification", "my_topics",
        rival=served_now, hyperparameters={"weight_decay": 0.1, "head": "linear"},
    )  # fmt: skip
    run_head(weaker, tmp_path / "2")
    second = json.loads((tmp_path / "2" / "result" / "report.json").read_text())
    assert second["rival"]["version"] == 7, "a number, as versions are everywhere"
    # The same backbone and the same held-out examples give exactly the metrics of the first job.
    assert second["rival"]["metrics"]["accuracy"] == pytest.approx(report["metrics"]["accuracy"]["value"])
    lineage = json.loads((tmp_path / "2" / "result" / "lineage.json").read_text())
    assert lineage["rival"]["metrics"] == second["rival"]["metrics"]
    assert lineage["hyperparameters"]["weight_decay"] == 0.1


def test_damaged_incumbent_does_not_fail_job(home: Path, texts: str, tmp_path: Path) -> None:
    incumbent = tmp_path / "3"
    incumbent.mkdir()
    (incumbent / "card.json").write_text("{")
    order = head_order(home, texts, "all_minilm_l6_v2", "text-classification", rival=incumbent)
    assert isinstance(run_head(order, tmp_path / "job")[-1], Finished)


def test_text_regression_has_interval_in_target_units(home: Path, tmp_path: Path) -> None:
    """The target is 1,010 for texts about food and 1,000 for others; the card has the interval of the errors in the same
    units."""
    scored = enumerate(fortunes(("food", "law"), 60))
    rows = [(text, (1010.0 if topic == "food" else 1000.0) + i / 100) for i, (text, topic) in scored]
    dataset = add_dataset(home, texts_csv(rows, "score"), "scores.csv")
    order = head_order(home, dataset, "all_minilm_l6_v2", "regression", "my_score")
    run_head(order, tmp_path / "job")
    result = tmp_path / "job" / "result"
    report = json.loads((result / "report.json").read_text())
    assert report["metrics"]["r2"]["value"] > 0.3
    card = Card.model_validate_json((result / "card.json").read_bytes())
    assert card.labels is None
    assert card.target is not None
    assert card.target.lower is not None
    assert card.target.upper is not None
    assert card.target.lower < 0 < card.target.upper
    [item, *_] = read_golden_items("my_score", result / "golden.safetensors")
    base = Store(home).find(Catalog.from_package().get("all_minilm_l6_v2"))
    assert base is not None
    answer = task_for(card, base).postprocess(item.outputs, Item(item.inputs), Options())
    assert isinstance(answer, Regression)
    assert 990 < answer.value < 1020


def test_example_without_features_is_left_out_and_reported(home: Path, texts: str, tmp_path: Path) -> None:
    cache = cached_features(home, "all_minilm_l6_v2", texts)
    features, ok, known = cache.read()
    assert features is not None
    assert known.all()
    before = {path: path.read_bytes() for path in cache.folder.iterdir()}
    try:
        ok[3] = 0
        cache.write(0, features, ok)
        messages = run_head(head_order(home, texts, "all_minilm_l6_v2", "text-classification"), tmp_path / "job")
    finally:
        for path, content in before.items():
            path.write_bytes(content)
    assert any(isinstance(m, Log) and m.level == "warning" and "left out" in m.text for m in messages)
    report = json.loads((tmp_path / "job" / "result" / "report.json").read_text())
    assert sum(report["splits"].values()) == 119
    accounting = report["accounting"]
    assert (
        accounting["given"]
        == accounting["train"] + accounting["validation"] + accounting["test"] + accounting["left_out"]
    )
    assert (accounting["given"], accounting["left_out"]) == (120, 1)
    assert accounting["reasons"] == {"the network gave no numbers for it": 1}
    assert "1 of 120 were left out by the job" in (tmp_path / "job" / "result" / "report.html").read_text()


def test_metrics_without_test_data_come_from_unseen_validation_data(home: Path, tmp_path: Path) -> None:
    """Random labels, and a head that memorises them. Without test data, the metrics are those of a head that has not learned from
    the validation data."""
    lots = np.random.default_rng(0).permutation(np.arange(120) % 3)
    rows = [(text, f"lot {lot}") for (text, _), lot in zip(fortunes(TOPICS, 40), lots, strict=True)]
    dataset = add_dataset(home, texts_csv(rows), "lots.csv")
    order = head_order(
        home,
        dataset,
        "all_minilm_l6_v2",
        "text-classification",
        hyperparameters={"weight_decay": 1e-5, "head": "linear"},
    )
    run_head(order, tmp_path / "before")
    cache = cached_features(home, "all_minilm_l6_v2", dataset)
    features, ok, _ = cache.read()
    assert features is not None
    ok[list(split_examples(open_dataset(home, dataset), order.spec.seed)["test"])] = 0
    cache.write(0, features, ok)
    run_head(order, tmp_path / "job")
    report = json.loads((tmp_path / "job" / "result" / "report.json").read_text())
    assert report["splits"]["test"] == 0
    assert report["metrics"]["accuracy"]["value"] < 0.7


def test_missing_base_files_are_reported(tmp_path: Path, home: Path, texts: str) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "datasets").symlink_to(home / "datasets")
    with pytest.raises(CannotTrain, match="pull the model first"):
        run_head(head_order(bare, texts, "all_minilm_l6_v2", "text-classification"), tmp_path / "job")


def test_image_with_row_uses_both_inputs(home: Path, tmp_path: Path) -> None:
    """The price depends on the image, plus 50 if the table says red."""
    prices = {"birds": 100.0, "coins": 200.0}
    packed, written = io.BytesIO(), io.StringIO()
    table = csv.writer(written)
    table.writerow(["image", "colour", "price"])
    with zipfile.ZipFile(packed, "w") as archive:
        for label, paths in stamps(("birds", "coins"), 24).items():
            for i, path in enumerate(paths):
                archive.writestr(f"{label}{i}.png", path.read_bytes())
                table.writerow([f"{label}{i}.png", ("blue", "red")[i % 2], prices[label] + 50 * (i % 2) + i / 10])
        archive.writestr("table.csv", written.getvalue())
    dataset = add_dataset(home, packed.getvalue(), "records.zip", columns=Columns(target="price"))
    order = head_order(home, dataset, "efficientnet_lite0", "image-tabular-regression", "my_price")
    run_head(order, tmp_path / "job")
    version = Versions(home).open("my_price", Versions(home).publish("my_price", tmp_path / "job" / "result"))
    report = json.loads((version.files.folder / "report.json").read_text())
    assert report["metrics"]["r2"]["value"] > 0.6
    [colour] = report["column_importance"]["columns"]
    assert 10 < colour["importance"] < 40  # a half of the shuffled rows is off by 50 more

    base = Store(home).find(Catalog.from_package().get("efficientnet_lite0"))
    network, task = load_network(version.card, version.files, base), task_for(version.card, version.files)
    [photo] = stamps(("coins",), 1)["coins"]
    records = [
        RecordInstance({"image": ImageInstance(photo.read_bytes()), "row": RowInstance({"colour": c})})
        for c in ("blue", "red")
    ]
    answers = []
    for item in task.preprocess(records, ["blue", "red"]):
        assert isinstance(item, Item)
        with torch.inference_mode():
            outputs = network(**{name: torch.from_numpy(array)[None] for name, array in item.tensors.items()})
        answers.append(task.postprocess({"value": outputs["value"][0].numpy()}, item, Options()))
    blue, red = (answer.value for answer in answers if isinstance(answer, Regression))
    assert 20 < red - blue < 80


def test_speakers_are_classified_by_voice(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, voices_zip(("fr", "ru", "es"), 14), "voices.zip", DatasetKind.AUDIO_FOLDER)
    given = method_order(home, "speaker_lstm", dataset, "audio-classification", Method.HEAD)
    run_method(train_head, given, tmp_path / "job")
    publish(home, tmp_path / "job")
    found = report(tmp_path / "job")
    assert found["metrics"]["accuracy"]["value"] > found["baseline"]["accuracy"] + 0.2
