"""A detector learns classes of its own; its boxes are measured as they are answered, beside what needs no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.training.failures import CannotTrain
from service.training.job_spec import Method
from service.training.methods.object_detection import MEAN_BOX, UNTUNED, train_detector
from service.training.protocol import Finished
from service.training.stop_signal import StopRequested
from tests.support.training.boxed_scenes import DETECTOR, add_detector, coco_scenes
from tests.support.training.data_sets import add_dataset
from tests.support.training.method_runs import method_order, publish, report, run_method


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("detectors")
    add_detector(root)
    return root


@pytest.fixture(scope="module")
def scenes(home: Path) -> str:
    return add_dataset(home, coco_scenes(60, seed=1), "scenes.zip")


def order(home: Path, dataset: str, incumbent: Path | None = None, **more: Any) -> Any:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 8}
    return method_order(home, DETECTOR, dataset, "object-detection", Method.FULL, incumbent, **(settings | more))


def test_detector_learns_new_classes_and_beats_the_mean_box(home: Path, scenes: str, tmp_path: Path) -> None:
    given = order(home, scenes, epochs=16, learning_rate=4e-3)
    assert isinstance(run_method(train_detector, given, tmp_path / "job")[-1], Finished)
    found = report(tmp_path / "job")
    assert (set(found["metrics"]), found["primary"], found["baseline"]["kind"]) == ({"map", "map_50"}, "map", MEAN_BOX)
    assert found["metrics"]["map_50"]["value"] > 0.5 > found["baseline"]["map_50"]
    assert found["metrics"]["map"]["low"] > found["baseline"]["map"]
    assert [one["label"] for one in found["per_class"]] == ["brick", "leaf"]
    card = publish(home, tmp_path / "job").card
    assert (card.task, [spec.shape for spec in card.signature.outputs]) == (
        "object-detection",
        [(-1, 84, 2), (-1, 84, 4)],
    )
    assert (tmp_path / "job" / "result" / "labels.txt").read_text().split() == ["brick", "leaf"]
    page = (tmp_path / "job" / "result" / "report.html").read_text()
    assert "Held-out pictures, the worst first" in page
    assert page.count("data:image/jpeg;base64,") == min(12, found["examples"])


def test_paused_and_resumed_job_gives_the_same_figures(home: Path, scenes: str, tmp_path: Path) -> None:
    given = order(home, scenes, checkpoint_steps=3)
    run_method(train_detector, given, tmp_path / "whole")
    with pytest.raises(StopRequested):
        run_method(train_detector, given, tmp_path / "paused", pause_at=2)
    run_method(train_detector, given, tmp_path / "paused")
    assert report(tmp_path / "paused")["curves"] == report(tmp_path / "whole")["curves"]


def test_known_classes_start_as_they_are_and_are_measured_beside_the_base_and_the_incumbent(
    home: Path, tmp_path: Path
) -> None:
    dataset = add_dataset(home, coco_scenes(40, seed=2, names=("cloud", "leaf")), "scenes.zip")
    run_method(train_detector, order(home, dataset), tmp_path / "first")
    assert report(tmp_path / "first")["baseline"]["kind"] == UNTUNED
    first = publish(home, tmp_path / "first")
    run_method(train_detector, order(home, dataset, first.files.folder), tmp_path / "again")
    rival = report(tmp_path / "again")["rival"]
    assert rival["metrics"] == {name: value["value"] for name, value in report(tmp_path / "first")["metrics"].items()}


def test_data_without_a_held_out_box_are_refused(home: Path, tmp_path: Path, scenes: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.training.methods.object_detection.boxes_of", lambda *_: np.zeros((0, 5)))
        with pytest.raises(CannotTrain, match="no training picture has a box"):
            run_method(train_detector, order(home, scenes), tmp_path / "job")
