"""An encoder learns the class of each pixel; masks are measured in the size of the pictures, beside the commonest class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.training.failures import CannotTrain
from service.training.job_spec import Method
from service.training.methods.segmentation import counted_pixels, pixel_cross_entropy, train_segmenter
from service.training.protocol import Finished
from service.training.stop_signal import StopRequested
from tests.support.training.data_sets import add_dataset
from tests.support.training.method_runs import method_order, publish, report, run_method
from tests.support.training.small_encoder import ENCODER, add_encoder, masked_shapes


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, served: Callable[[str], object], zoo_home: Path) -> Path:
    served("efficientnet_lite0")  # fetched, or the test is skipped
    root = tmp_path_factory.mktemp("encoders")
    add_encoder(root, zoo_home)
    return root


@pytest.fixture(scope="module")
def shapes(home: Path) -> str:
    return add_dataset(home, masked_shapes(32, seed=1), "shapes.zip")


def order(home: Path, dataset: str, incumbent: Path | None = None, **more: Any) -> Any:
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 8}
    return method_order(home, ENCODER, dataset, "image-segmentation", Method.FULL, incumbent, **(settings | more))


def test_encoder_learns_classes_of_pixels_and_is_measured_beside_the_next_version(
    home: Path, shapes: str, tmp_path: Path
) -> None:
    given = order(home, shapes, epochs=4, learning_rate=4e-3)
    assert isinstance(run_method(train_segmenter, given, tmp_path / "job")[-1], Finished)
    found = report(tmp_path / "job")
    assert (set(found["metrics"]), found["primary"]) == ({"mean_iou", "pixel_accuracy"}, "mean_iou")
    assert found["baseline"]["kind"] == "everywhere the commonest class"
    assert found["metrics"]["mean_iou"]["low"] > found["baseline"]["mean_iou"]
    assert found["metrics"]["mean_iou"]["value"] > 0.5
    assert [one["label"] for one in found["per_class"]] == ["brick", "ground", "leaf"]
    page = (tmp_path / "job" / "result" / "report.html").read_text()
    assert "Held-out pictures, the worst first" in page
    assert page.count("data:image/jpeg;base64,") == found["examples"]
    version = publish(home, tmp_path / "job")
    assert version.card.signature.outputs[0].shape == (-1, 3, 16, 16)
    run_method(train_segmenter, order(home, shapes, version.files.folder), tmp_path / "again")
    rival = report(tmp_path / "again")["rival"]
    assert rival["metrics"]["mean_iou"] == found["metrics"]["mean_iou"]["value"]


def test_paused_and_resumed_job_gives_the_same_figures(home: Path, shapes: str, tmp_path: Path) -> None:
    given = order(home, shapes, checkpoint_steps=1)
    run_method(train_segmenter, given, tmp_path / "whole")
    with pytest.raises(StopRequested):
        run_method(train_segmenter, given, tmp_path / "paused", pause_at=2)
    run_method(train_segmenter, given, tmp_path / "paused")
    assert report(tmp_path / "paused")["curves"] == report(tmp_path / "whole")["curves"]


def test_places_without_a_class_are_not_learned_from() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, :, 0, 1] = torch.tensor([9.0, -9.0])
    ignored = pixel_cross_entropy(logits, torch.tensor([[[0, -1]]], dtype=torch.int16))
    assert ignored.item() == pytest.approx(np.log(2))
    assert pixel_cross_entropy(logits, torch.full((1, 1, 2), -1)).item() == 0.0
    with pytest.raises(CannotTrain, match="no held-out picture has a pixel with a class"):
        counted_pixels(np.zeros((2, 3, 3), np.int64), (0, 1))
