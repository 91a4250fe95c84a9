"""Every method on a real base and real data, small: each ends with a version that loads and answers as it was measured."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from model_zoo.cards.card import TunedSource
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_items import read_golden_items
from model_zoo.network import load_network
from model_zoo.store import Store
from model_zoo.versions import Version, Versions
from service.datasets.dataset import Columns, DatasetKind
from service.training.data.seeds import seed_all
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.methods.forecasting import train_series
from service.training.methods.full import train_network
from service.training.methods.head import train_head
from service.training.methods.language_model import train_language_model
from service.training.protocol import CheckpointWritten, Finished, WorkerMessage
from service.training.stop_signal import StopRequested, StopSignal
from tests.support.training_data import (
    add_dataset,
    fortunes,
    home_with_weights,
    photos_zip,
    stamps,
    texts_csv,
    voices_zip,
)

pytestmark = [pytest.mark.weights, pytest.mark.component]

BASES = ("efficientnet_lite0", "all_minilm_l6_v2", "char_lstm", "speaker_lstm")
Train = Callable[[WorkOrder, Path, Callable[[WorkerMessage], None], StopSignal], None]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, served: object, zoo_home: Path) -> Path:
    for name in BASES:
        served(name)  # type: ignore[operator]  # fetched, or the test is skipped
    return home_with_weights(tmp_path_factory.mktemp("methods"), zoo_home)


def order(
    home: Path, base: str, dataset: str, task: str, method: Method, incumbent: Path | None = None, **hparams: Any
) -> WorkOrder:
    spec = JobSpec(
        base=base, dataset_id=dataset, model="mine", task=task, method=method, seed=4, hyperparameters=hparams
    )
    return WorkOrder(job_id="j1", spec=spec, home=home, rival=incumbent)


def run(
    train: Train, given: WorkOrder, folder: Path, stop: StopSignal | None = None, pause_at: int = -1
) -> list[WorkerMessage]:
    """In this process; paused once so many checkpoints are written."""
    folder.mkdir(parents=True, exist_ok=True)
    seed_all(given.spec.seed)
    stop, said = stop or StopSignal(), []

    def send(one: WorkerMessage) -> None:
        said.append(one)
        if sum(isinstance(s, CheckpointWritten) for s in said) == pause_at:
            stop.pause.set()

    train(given, folder, send, stop)
    return said


def report(folder: Path) -> Any:
    return json.loads((folder / "result" / "report.json").read_text())


def publish(home: Path, folder: Path, name: str = "mine") -> Version:
    """A copy of a job's result as the next version; it must load, and answer as it was measured."""
    copy = folder / f"published-{time.time_ns()}"
    shutil.copytree(folder / "result", copy)
    version = Versions(home).open(name, Versions(home).publish(name, copy))
    card = version.card
    assert isinstance(card.source, TunedSource)
    base = None
    if card.source.method != "full":
        base = Store(home).find(Catalog.from_package().get(card.source.base))
    network = load_network(card, version.files, base)
    output = card.signature.outputs[0].name
    items = read_golden_items(name, version.golden)
    assert items
    for item in items:
        with torch.inference_mode():
            got = network(**{n: torch.from_numpy(array)[None] for n, array in item.inputs.items()})[output][0].numpy()
        assert np.abs(got - item.outputs[output]).max() <= card.tolerance.max_abs_error
    return version


# ── full: photos ──────────────────────────────────────────────────────────────────────────────────────────────────

PHOTO_KNOBS = {"epochs": 2, "batch_size": 4, "checkpoint_steps": 2, "augmentation": "medium", "patience": 0}


@pytest.fixture(scope="module")
def photos(home: Path) -> str:
    return add_dataset(home, photos_zip(stamps(("birds", "coins"), 8)), "photos.zip")


@pytest.fixture(scope="module")
def photo_job(home: Path, photos: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full") / "job"
    given = order(home, "efficientnet_lite0", photos, "image-classification", Method.FULL, **PHOTO_KNOBS)
    assert isinstance(run(train_network, given, folder)[-1], Finished)
    return folder


def test_a_paused_job_on_photos_ends_with_the_weights_of_one_that_was_not(
    home: Path, photos: str, photo_job: Path, tmp_path: Path
) -> None:
    """Pictures are varied anew in each epoch, and the second process must see the same ones. The version that is served is
    measured on the same held-out photos: as it has the same weights, it does as well."""
    incumbent = publish(home, photo_job).files.folder
    given = order(home, "efficientnet_lite0", photos, "image-classification", Method.FULL, incumbent, **PHOTO_KNOBS)
    with pytest.raises(StopRequested):
        run(train_network, given, tmp_path / "job", pause_at=2)
    assert not (tmp_path / "job" / "result").exists()
    run(train_network, given, tmp_path / "job")
    one, other = (load_file(f / "result" / "model.safetensors") for f in (photo_job, tmp_path / "job"))
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    found = report(tmp_path / "job")
    assert found["rival"]["version"] == int(incumbent.name)
    assert found["rival"]["metrics"]["accuracy"] == pytest.approx(found["metrics"]["accuracy"]["value"])
    assert found["not_compared"] == ""


def test_a_served_version_that_knows_other_classes_is_not_compared_and_the_report_says_so(
    home: Path, photo_job: Path, tmp_path: Path
) -> None:
    incumbent = publish(home, photo_job).files.folder
    dataset = add_dataset(home, photos_zip(stamps(("flowers", "coins"), 6)), "others.zip")
    given = order(home, "efficientnet_lite0", dataset, "image-classification", Method.HEAD, incumbent)
    run(train_head, given, tmp_path / "job")
    assert report(tmp_path / "job")["rival"] is None
    assert report(tmp_path / "job")["not_compared"] == "it knows other classes"
    assert "it knows other classes" in (tmp_path / "job" / "result" / "report.html").read_text()


def test_a_picture_and_a_row_are_learned_from_together_by_all_weights(home: Path, tmp_path: Path) -> None:
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
    given = order(home, "efficientnet_lite0", dataset, "image-tabular-regression", Method.FULL, epochs=1, batch_size=4)
    run(train_network, given, tmp_path / "job")
    version = publish(home, tmp_path / "job")
    assert version.card.target is not None
    assert version.card.tolerance.reduced_precision.max_abs_error is not None


# ── lora: a Transformer ───────────────────────────────────────────────────────────────────────────────────────────


def test_low_rank_updates_are_all_that_a_lora_version_holds(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, texts_csv(fortunes(("computers", "love"), 20)), "texts.csv")
    given = order(home, "all_minilm_l6_v2", dataset, "text-classification", Method.LORA, epochs=2, batch_size=8, rank=4)
    assert isinstance(run(train_network, given, tmp_path / "job")[-1], Finished)
    state = load_file(tmp_path / "job" / "result" / "model.safetensors")
    assert all(name.startswith("head.") or ".lora_" in name for name in state)
    learned = [tensor for name, tensor in state.items() if "lora_B" in name]
    assert learned
    assert all(tensor.abs().max() > 0 for tensor in learned)  # they begin at zero
    version = publish(home, tmp_path / "job")
    assert version.files.weights.stat().st_size < 3_000_000
    assert report(tmp_path / "job")["metrics"]["accuracy"]["value"] >= 0.5


# ── recurrent networks ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_language_model_learns_to_write_like_a_text(home: Path, tmp_path: Path) -> None:
    text = "\n".join(text for text, _ in fortunes(("startrek",)))[:24_000]
    dataset = add_dataset(home, text.encode(), "startrek.txt", DatasetKind.PLAIN_TEXT)
    given = order(home, "char_lstm", dataset, "text-generation", Method.FULL, epochs=1, batch_size=16)
    assert isinstance(run(train_language_model, given, tmp_path / "1")[-1], Finished)
    found = report(tmp_path / "1")
    primary = found["primary"]
    assert found["metrics"][primary]["value"] < found["baseline"][primary]  # less surprised than before
    incumbent = publish(home, tmp_path / "1").files.folder
    same = order(home, "char_lstm", dataset, "text-generation", Method.FULL, incumbent, epochs=1, batch_size=16)
    run(train_language_model, same, tmp_path / "2")
    again = report(tmp_path / "2")
    assert again["rival"]["metrics"][primary] == pytest.approx(again["metrics"][primary]["value"], rel=1e-5)


def test_speakers_are_told_apart_by_their_voices(home: Path, tmp_path: Path) -> None:
    dataset = add_dataset(home, voices_zip(("fr", "ru", "es"), 14), "voices.zip", DatasetKind.AUDIO_FOLDER)
    given = order(home, "speaker_lstm", dataset, "audio-classification", Method.HEAD)
    run(train_head, given, tmp_path / "job")
    publish(home, tmp_path / "job")
    found = report(tmp_path / "job")
    assert found["metrics"]["accuracy"]["value"] > found["baseline"]["accuracy"] + 0.2


def test_a_series_is_forecast_better_than_by_its_last_season(home: Path, tmp_path: Path) -> None:
    steps = np.arange(320)
    noise = np.random.default_rng(0).normal(0, 0.5, len(steps))
    values = 50 + 10 * np.sin(2 * np.pi * steps / 12) + noise
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(["time", "sales"])
    table.writerows(zip(steps.tolist(), values.tolist(), strict=True))
    dataset = add_dataset(home, written.getvalue().encode(), "sales.csv", DatasetKind.SERIES, Columns(time="time"))
    hparams = {"epochs": 25, "hidden": 32, "layers": 1, "horizon": 6, "context": 24}
    given = order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, **hparams)
    assert isinstance(run(train_series, given, tmp_path / "1")[-1], Finished)
    found = report(tmp_path / "1")
    primary = found["primary"]
    assert found["metrics"][primary]["value"] < found["baseline"][primary]
    incumbent = publish(home, tmp_path / "1").files.folder
    for horizon, reason in ((6, ""), (4, "it forecasts 6 steps, not 4")):
        short = hparams | {"epochs": 1, "horizon": horizon}
        given = order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, incumbent, **short)
        run(train_series, given, tmp_path / str(horizon))
        second = report(tmp_path / str(horizon))
        assert second["not_compared"] == reason
        if not reason:
            theirs = second["rival"]["metrics"][primary]
            assert theirs == pytest.approx(found["metrics"][primary]["value"], rel=1e-5)


def sales(level: float, size: float, stretch: int = 0) -> np.ndarray:
    """A yearly wave; for `stretch` steps in its middle it stands still."""
    steps = np.arange(240)
    values = 5 * np.sin(2 * np.pi * steps / 12) + np.random.default_rng(0).normal(0, 0.5, len(steps))
    values[60 : 60 + stretch] = values[60]
    return level + size * values


def trained_on(home: Path, folder: Path, values: np.ndarray) -> dict[str, float]:
    """Its error and that of the last season, in spreads of the data."""
    written = "time,sales\n" + "".join(f"{i},{value!r}\n" for i, value in enumerate(values.tolist()))
    dataset = add_dataset(home, written.encode(), "sales.csv", DatasetKind.SERIES, Columns(time="time"))
    hparams = {"epochs": 6, "hidden": 16, "layers": 1, "horizon": 6, "context": 24}
    given = order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, **hparams)
    assert isinstance(run(train_series, given, folder)[-1], Finished)
    found = report(folder)
    size = float((values / np.abs(values).max()).std() * np.abs(values).max())
    return {"error": found["metrics"]["mae"]["value"] / size, "baseline": found["baseline"]["mae"] / size}


@pytest.fixture(scope="module")
def usual(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return trained_on(home, tmp_path_factory.mktemp("usual"), sales(0.0, 1.0))


@pytest.mark.parametrize(
    ("level", "size"),
    [(0.0, 1e19), (5e20, 1e20), (0.0, 1e-19), (0.0, 1e140), (0.0, 1e-150), (1e9, 0.01), (-1.7e12, 1e3)],
)
def test_a_series_of_any_size_and_level_is_learned_as_well_as_one_about_zero(
    home: Path, tmp_path: Path, usual: dict[str, float], level: float, size: float
) -> None:
    other = trained_on(home, tmp_path / "other", sales(level, size))
    assert other["baseline"] == pytest.approx(usual["baseline"], rel=1e-3)
    assert other["error"] == pytest.approx(usual["error"], rel=0.02)
    assert other["error"] < other["baseline"]


def test_a_series_that_stands_still_for_longer_than_a_context_is_learned(home: Path, tmp_path: Path) -> None:
    found = trained_on(home, tmp_path / "job", sales(5e20, 1e20, stretch=40))
    assert found["error"] < found["baseline"]


def test_a_series_that_never_moves_has_no_error_and_no_interval(home: Path, tmp_path: Path) -> None:
    written = "time,sales\n" + "".join(f"{i},7.5\n" for i in range(120))
    dataset = add_dataset(home, written.encode(), "sales.csv", DatasetKind.SERIES, Columns(time="time"))
    given = order(home, "series_gru", dataset, "time-series-forecasting", Method.FULL, epochs=1)
    assert isinstance(run(train_series, given, tmp_path / "job")[-1], Finished)
    assert report(tmp_path / "job")["metrics"]["mae"]["value"] == 0
    assert publish(home, tmp_path / "job").card.forecast is None
