"""Method `full` on images: it resumes exactly, and its versions answer as they were measured."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from service.datasets.dataset import Columns
from service.training.job_spec import Method
from service.training.methods.full import train_network
from service.training.methods.head import train_head
from service.training.protocol import Finished
from service.training.stop_signal import StopRequested
from tests.support.training.data_sets import (
    add_dataset,
    photos_zip,
    stamps,
)
from tests.support.training.method_runs import method_order, publish, report, run_method

pytestmark = [pytest.mark.weights, pytest.mark.component]


PHOTO_KNOBS = {"epochs": 2, "batch_size": 4, "checkpoint_steps": 2, "augmentation": "medium", "patience": 0}


@pytest.fixture(scope="module")
def photos(home: Path) -> str:
    return add_dataset(home, photos_zip(stamps(("birds", "coins"), 8)), "photos.zip")


@pytest.fixture(scope="module")
def photo_job(home: Path, photos: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full") / "job"
    given = method_order(home, "efficientnet_lite0", photos, "image-classification", Method.FULL, **PHOTO_KNOBS)
    assert isinstance(run_method(train_network, given, folder)[-1], Finished)
    return folder


def test_paused_photo_job_gives_same_weights_as_uninterrupted_one(
    home: Path, photos: str, photo_job: Path, tmp_path: Path
) -> None:
    """Images are augmented differently in each epoch, and the resumed job must see the same ones. The incumbent has
    the same weights, so its metrics on the same held-out photos are equal."""
    incumbent = publish(home, photo_job).files.folder
    given = method_order(
        home, "efficientnet_lite0", photos, "image-classification", Method.FULL, incumbent, **PHOTO_KNOBS
    )
    with pytest.raises(StopRequested):
        run_method(train_network, given, tmp_path / "job", pause_at=2)
    assert not (tmp_path / "job" / "result").exists()
    run_method(train_network, given, tmp_path / "job")
    one, other = (load_file(f / "result" / "model.safetensors") for f in (photo_job, tmp_path / "job"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    found = report(tmp_path / "job")
    assert found["rival"]["version"] == int(incumbent.name)
    assert found["rival"]["metrics"]["accuracy"] == pytest.approx(found["metrics"]["accuracy"]["value"])
    assert found["not_compared"] == ""


def test_incumbent_with_other_classes_is_not_compared(home: Path, photo_job: Path, tmp_path: Path) -> None:
    incumbent = publish(home, photo_job).files.folder
    dataset = add_dataset(home, photos_zip(stamps(("flowers", "coins"), 6)), "others.zip")
    given = method_order(home, "efficientnet_lite0", dataset, "image-classification", Method.HEAD, incumbent)
    run_method(train_head, given, tmp_path / "job")
    assert report(tmp_path / "job")["rival"] is None
    assert report(tmp_path / "job")["not_compared"] == "it knows other classes"
    assert "it knows other classes" in (tmp_path / "job" / "result" / "report.html").read_text()


def test_full_tuning_on_images_with_rows_gives_a_version(home: Path, tmp_path: Path) -> None:
    packed, written = io.BytesIO(), io.StringIO()
    table = csv.writer(written)
    table.writerow(["image", "colour", "price"])
    with zipfile.ZipFile(packed, "w") as archive:
        for label, paths in stamps(("birds", "coins"), 9).items():
            for i, path in enumerate(paths):
                archive.writestr(f"{label}{i}.png", path.read_bytes())
                price = {"birds": 100, "coins": 200}[label] + 50 * (i % 2) + i / 10
                table.writerow([f"{label}{i}.png", ("blue", "red")[i % 2], price])
        archive.writestr("table.csv", written.getvalue())
    dataset = add_dataset(home, packed.getvalue(), "records.zip", columns=Columns(target="price"))
    given = method_order(
        home, "efficientnet_lite0", dataset, "image-tabular-regression", Method.FULL, epochs=1, batch_size=4
    )
    run_method(train_network, given, tmp_path / "job")
    found = report(tmp_path / "job")["column_importance"]
    assert [column["column"] for column in found["columns"]] == ["colour"]
    assert found["value"] == pytest.approx(report(tmp_path / "job")["metrics"]["mae"]["value"])
    version = publish(home, tmp_path / "job")
    assert version.card.target is not None
    assert version.card.tolerance.reduced_precision.max_abs_error is not None
