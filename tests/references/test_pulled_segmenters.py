"""A pulled network for segmentation gives each pixel the class that the pipeline of transformers gives it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image

from model_zoo.errors import NotEqual
from service.references.verification_inputs import PHOTOS
from service.types import Options, Segmentation
from service.verification.golden_check import golden_problem
from service.verification.probes import closeness, invariance_problem, probe_items
from tests.support.references.pulled import RunningModel, photo, pulled_here
from tests.support.references.tiny_vision import SEGMENTERS, segformer


@pytest.fixture(scope="module", params=SEGMENTERS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunningModel:
    root = tmp_path_factory.mktemp(request.param)
    return pulled_here(SEGMENTERS[request.param], root / request.param, root / "home")


def segmented(model: RunningModel, data: bytes) -> Segmentation:
    answer = model.answer(data)
    assert isinstance(answer, Segmentation)
    return answer


def mask_of(answer: Segmentation) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer.mask)))


@pytest.mark.parametrize("name", PHOTOS)
def test_pixels_have_the_classes_of_the_pipeline(model: RunningModel, name: str) -> None:
    pipeline: Any = transformers.pipeline
    image = Image.open(io.BytesIO(photo(name)))
    answer = segmented(model, photo(name))
    mask = mask_of(answer)
    assert mask.shape == (image.height, image.width) == (answer.height, answer.width)
    names = {one.index: one.name for one in answer.classes}
    expected = np.full(mask.shape, "", object)
    for one in pipeline("image-segmentation", model=str(model.folder), device="cpu")(image):
        expected[np.asarray(one["mask"]) > 0] = one["label"]
    mine = np.vectorize(names.__getitem__)(mask)
    assert (mine == expected).mean() >= 0.98


def test_classes_are_those_of_the_mask_the_largest_first(model: RunningModel) -> None:
    answer = segmented(model, photo("cat.jpg"))
    mask = mask_of(answer)
    assert {one.index for one in answer.classes} == set(np.unique(mask).tolist())
    assert sum(one.share for one in answer.classes) == pytest.approx(1.0)
    shares = [one.share for one in answer.classes]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] == pytest.approx((mask == answer.classes[0].index).mean())


def test_rows_of_a_batch_equal_single_rows(model: RunningModel) -> None:
    items = probe_items(model.task)
    alone = [model.alone(item) for item in items]
    assert invariance_problem(model.task, model.runtime, alone, items) is None
    assert golden_problem(model.task, model.runtime) is None


def test_pixels_whose_class_changes_are_decisions_that_flip(model: RunningModel) -> None:
    row = model.alone(model.item(photo("cat.jpg")))
    logits = row["logits"].copy()
    assert closeness(model.pulled.card, [(0, row)], [row]).top1_agreement == 1.0
    logits[:, : logits.shape[1] // 2] = -logits[:, : logits.shape[1] // 2]
    changed = closeness(model.pulled.card, [(0, {"logits": logits})], [row]).top1_agreement
    assert changed is not None
    assert changed < 0.95


def test_options_of_other_tasks_are_refused(model: RunningModel) -> None:
    from service.errors import InvalidInput

    for options in (Options(top_k=1), Options(threshold=0.5)):
        with pytest.raises(InvalidInput, match="has no meaning for the task image-segmentation"):
            model.task.check(options)


def test_network_whose_numbers_are_not_finite_is_refused(tmp_path: Path) -> None:
    def damaged(folder: Path) -> Path:
        from safetensors.torch import load_file, save_file

        path = segformer(folder) / "model.safetensors"
        tensors = load_file(path)
        tensors["decode_head.classifier.bias"] += float("nan")
        save_file(tensors, path, metadata={"format": "pt"})
        return folder

    with pytest.raises(NotEqual, match="not finite"):
        pulled_here(damaged, tmp_path / "damaged", tmp_path / "home")
