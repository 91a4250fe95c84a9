"""A network is taken only where its library prepares pictures as Zoo does, whatever the network finds in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.errors import NotEqual
from model_zoo.references import image_processor, timm_card
from service.references.comparison.pictures import MOST_POSITIONS, pictures, sampled
from tests.references.conftest import Puller
from tests.support.references.tiny_repositories import image_classifier, timm_repository

Maker = Callable[[Path], Path]
HALF: dict[str, Any] = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def prepared_by(**processor: Any) -> Maker:
    """A tiny ViT of 32 pixels with another processor."""

    def make(folder: Path) -> Path:
        image_classifier(folder)
        (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")
        return folder

    return make


def squeezed_by_timm(folder: Path) -> Path:
    timm_repository(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["pretrained_cfg"] |= {"crop_mode": "squash", "crop_pct": 0.8}
    path.write_text(json.dumps(config), "utf-8")
    return folder


MAKERS: dict[str, Maker] = {
    "squeezed and cropped": prepared_by(
        feature_extractor_type="DeiTFeatureExtractor", size=36, crop_size=32, do_center_crop=True, resample=3, **HALF
    ),
    "crop by default": prepared_by(image_processor_type="CLIPImageProcessor", size=35, crop_size=32, **HALF),
    "larger than its size": prepared_by(image_processor_type="LevitImageProcessor", size=32, crop_size=32),
    "filter by default": prepared_by(image_processor_type="BeitImageProcessor", size=32),
    "processor by type": prepared_by(size=32, **HALF),
    "squeezed and cropped by timm": squeezed_by_timm,
}


@pytest.mark.parametrize("case", MAKERS)
def test_pictures_are_prepared_as_the_library_does(case: str, pull_tiny: Puller) -> None:
    assert pull_tiny(MAKERS[case]).card.verification is not None


@pytest.mark.parametrize("wrong", [{"interpolation": "bilinear"}, {"stretch_to": None}, {"mean": (0.5, 0.5, 0.55)}])
def test_other_preparation_is_refused_with_the_figures_where_answers_hardly_differ(
    wrong: dict[str, Any], pull_tiny: Puller, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = image_processor.image_recipe
    monkeypatch.setattr(
        "model_zoo.references.transformers.vision.image.image_recipe", lambda *given: {**right(*given), **wrong}
    )
    monkeypatch.setattr("service.references.comparison.vectors._class_difference", lambda compared: 0.0)
    with pytest.raises(NotEqual, match=r"grey levels on average; allowed is 2"):
        pull_tiny(MAKERS["squeezed and cropped"])


def test_crop_that_timm_does_not_make_is_refused(pull_tiny: Puller, monkeypatch: pytest.MonkeyPatch) -> None:
    right = timm_card._recipe
    wrong = {"stretch": True, "stretch_to": None, "resize_shorter": 160}
    monkeypatch.setattr(timm_card, "_recipe", lambda *given: {**right(*given), **wrong})
    with pytest.raises(NotEqual, match="grey levels"):
        pull_tiny(squeezed_by_timm)


def test_pictures_are_the_same_in_each_process_and_their_numbers_are_bounded() -> None:
    assert len(pictures()) == 4
    found = sampled(np.zeros((3, 900, 20)))
    assert (found["shape"], len(found["values"])) == ([3, 900, 20], 3 * MOST_POSITIONS * 20)
