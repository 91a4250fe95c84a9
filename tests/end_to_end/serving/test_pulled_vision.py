"""Networks of transformers for images are pulled and served: objects and masks, for photos and tensors, over both protocols."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from PIL import Image, ImageOps

from model_zoo.golden.golden_case import golden_path
from model_zoo.references.reference import parse_reference
from service.pb import prediction_pb2 as pb
from service.references.library_answers import answer
from service.references.pull import pull_reference
from service.references.verification_inputs import PHOTOS
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, stubs_of
from tests.support.model_zoo.home_cards import write_card
from tests.support.references.pulled import edges
from tests.support.references.tiny_vision import DETECTORS, SEGMENTERS
from tests.support.tasks.pictures import rotated_by_exif

MODELS = {**DETECTORS, **SEGMENTERS}
JOINTS = "joints"
"""A network of keypoints, on the same server."""
KINDS = {**dict.fromkeys(DETECTORS, "detections"), **dict.fromkeys(SEGMENTERS, "segmentation"), JOINTS: "keypoints"}
JPEGS = [golden_path(name).read_bytes() for name in PHOTOS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("repositories")
    for name in MODELS:
        (root / name).mkdir()
    return {name: make(root / name) for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def server(folders: dict[str, Path], home: Path) -> Iterator[ServerProcess]:
    """A server with the pulled networks, and nothing else."""
    with mock.patch("service.references.pull.library_answers", lambda _, asked: answer(asked)):
        for folder in folders.values():  # here: a process of its own for each takes ten seconds
            pull_reference(parse_reference(f"local:{folder}"), home)
    # Random weights, made when the card is loaded.
    made = {"source": {"kind": "card"}, "weights": {"format": "safetensors", "mapping": "by_name"}, "golden": []}
    write_card(home, JOINTS, "movenet_lightning", **made)
    with ServerProcess(
        *(word for name in (*folders, JOINTS) for word in ("--model", name)), ZOO_HOME=str(home)
    ) as started:
        yield started.ready()


@pytest.fixture(scope="module")
def pulled(server: ServerProcess) -> Iterator[Stubs]:
    with stubs_of(server) as stubs:
        yield stubs


def pipeline_of(task: str, folder: Path) -> Any:
    import transformers

    make: Any = transformers.pipeline
    return make(task, model=str(folder), device="cpu")


def turned() -> bytes:
    """A photo that is higher than it is wide."""
    written = io.BytesIO()
    Image.open(io.BytesIO(JPEGS[0])).rotate(90, expand=True).save(written, "PNG")
    return written.getvalue()


def alike(one: pb.DetectedObject, other: pb.DetectedObject, pixels: float) -> bool:
    corners = [np.array([x.box.xmin, x.box.ymin, x.box.xmax, x.box.ymax]) for x in (one, other)]
    near = np.abs(corners[0] - corners[1]).max() <= pixels
    return bool(one.name == other.name and abs(one.score - other.score) < 0.01 and near)


@pytest.mark.parametrize("model", DETECTORS)
def test_photos_get_the_objects_of_the_pipeline(pulled: Stubs, folders: dict[str, Path], model: str) -> None:
    reply = pulled.predict(ask(model, *({"image": data} for data in JPEGS)))
    pipe = pipeline_of("object-detection", folders[model])
    for data, result in zip(JPEGS, reply.predictions, strict=True):
        image = Image.open(io.BytesIO(data))
        expected, mine = pipe(image), result.detections
        assert (mine.image_width, mine.image_height) == image.size
        assert len(mine.objects) == len(expected) > 0
        for one in expected:
            corners = [np.array([x.box.xmin, x.box.ymin, x.box.xmax, x.box.ymax]) for x in mine.objects]
            gaps = [float(np.abs(edges(one["box"]) - corner).max()) for corner in corners]
            fits = [
                gap < 0.02 * image.width + 1 and found.name == one["label"] and abs(found.score - one["score"]) < 0.02
                for gap, found in zip(gaps, mine.objects, strict=True)
            ]
            assert any(fits), (one, mine)


@pytest.mark.parametrize("model", DETECTORS)
def test_open_inference_gives_the_tensors_of_the_network(pulled: Stubs, model: str) -> None:
    found = outputs(pulled.infer(infer(model, image=[JPEGS[0]])))
    assert found["pred_boxes"].shape[2] == 4
    assert found["logits"].shape[:2] == found["pred_boxes"].shape[:2]
    tensors = pulled.predict(ask(model, {"image": JPEGS[0]}, include_tensors=True)).predictions[0].outputs.tensors
    np.testing.assert_allclose(
        np.frombuffer(tensors["pred_boxes"].data, np.float32), found["pred_boxes"].ravel(), atol=1e-3
    )


@pytest.mark.parametrize("model", DETECTORS)
def test_tensors_are_taken_in_place_of_a_photo(pulled: Stubs, model: str) -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 160, 160)).astype(np.float32)
    together = outputs(pulled.infer(infer(model, pixel_values=images)))
    alone = [outputs(pulled.infer(infer(model, pixel_values=images[i : i + 1]))) for i in range(2)]
    for name, array in together.items():
        np.testing.assert_allclose(array, np.concatenate([one[name] for one in alone]), atol=1e-2)


@pytest.mark.parametrize("model", DETECTORS)
def test_callers_at_once_with_photos_of_unlike_sizes_get_their_own_answers(pulled: Stubs, model: str) -> None:
    photos = [*JPEGS, turned()]
    expected = [pulled.predict(ask(model, {"image": data})).predictions[0].detections for data in photos]
    with ThreadPoolExecutor(12) as callers:
        replies = list(callers.map(pulled.predict, [ask(model, {"image": data}) for data in photos] * 8))
    for i, reply in enumerate(replies):
        mine, wanted = reply.predictions[0].detections, expected[i % len(photos)]
        assert (mine.image_width, mine.image_height) == (wanted.image_width, wanted.image_height)
        for one in wanted.objects:
            assert any(alike(one, other, 0.01 * wanted.image_width) for other in mine.objects)


def test_points_are_in_pixels_of_the_photo(pulled: Stubs) -> None:
    """They are those of the tensors, for photos of any proportions, and turned as their EXIF data say."""
    photos = [JPEGS[0], rotated_by_exif(Image.open(io.BytesIO(JPEGS[1])), 6)]
    shares = outputs(pulled.infer(infer(JOINTS, image=photos)))["keypoints"]
    for data, row, result in zip(
        photos,
        shares,
        pulled.predict(ask(JOINTS, *({"image": data} for data in photos), threshold=0.0)).predictions,
        strict=True,
    ):
        upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        mine = result.keypoints
        assert (mine.image_width, mine.image_height) == upright.size
        side = max(upright.size)
        bars = (side - np.array(upright.size)) / 2
        expected = row[:, :2] * side - bars
        assert [point.name for point in mine.keypoints][:2] == ["nose", "left_eye"]
        np.testing.assert_allclose([(point.x, point.y) for point in mine.keypoints], expected, atol=0.02 * side)
    error = expect_error(lambda: pulled.predict(ask(JOINTS, {"image": JPEGS[0]}, top_k=3)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "options.top_k")


@pytest.mark.parametrize("model", [*MODELS, JOINTS])
@pytest.mark.parametrize(
    "instance",
    [{"image": b""}, {"image": b"no photo"}, {"image": JPEGS[0][:500]}, {"text": "a cat"}, {"audio": b"RIFF"}],
    ids=["empty", "undecodable", "truncated", "a text", "a sound"],
)
def test_wrong_input_is_refused_by_its_place(pulled: Stubs, model: str, instance: dict[str, Any]) -> None:
    error = expect_error(lambda: pulled.predict(ask(model, instance)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "instances[0]")


@pytest.mark.parametrize("model", [*MODELS, JOINTS])
def test_bad_photo_fails_alone(pulled: Stubs, model: str) -> None:
    good, bad = pulled.predict(ask(model, {"image": JPEGS[0]}, {"image": b"bad"})).predictions
    assert good.WhichOneof("result") == KINDS[model]
    assert bad.WhichOneof("result") == "error"


@pytest.mark.parametrize("model", [*MODELS, JOINTS])
def test_huge_image_is_refused_before_it_is_decoded(pulled: Stubs, model: str) -> None:
    from tests.support.tasks.pictures import png

    error = expect_error(lambda: pulled.predict(ask(model, {"image": png(60_000, 60_000)})))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "instances[0]")
    assert "pixels" in error.message


@pytest.mark.parametrize("model", SEGMENTERS)
def test_photos_get_the_mask_of_the_pipeline(pulled: Stubs, folders: dict[str, Path], model: str) -> None:
    photos = [*JPEGS, turned()]
    reply = pulled.predict(ask(model, *({"image": data} for data in photos)))
    pipe = pipeline_of("image-segmentation", folders[model])
    for data, result in zip(photos, reply.predictions, strict=True):
        image, answer = Image.open(io.BytesIO(data)), result.segmentation
        mask = np.asarray(Image.open(io.BytesIO(answer.mask)))
        assert mask.shape == (answer.image_height, answer.image_width) == (image.height, image.width)
        indices = {one.name: one.index for one in answer.classes}
        equal = sum(
            int((mask[np.asarray(one["mask"]) > 0] == indices.get(one["label"], -1)).sum()) for one in pipe(image)
        )
        assert equal / mask.size >= 0.98


@pytest.mark.parametrize("model", SEGMENTERS)
def test_open_inference_gives_logits_of_low_resolution(pulled: Stubs, model: str) -> None:
    raw = outputs(pulled.infer(infer(model, image=[JPEGS[0], turned()])))["logits"]
    assert raw.shape[:2] == (2, 3)
    pixels = np.random.default_rng(0).normal(size=(2, 3, 128, 128)).astype(np.float32)
    together = outputs(pulled.infer(infer(model, pixel_values=pixels)))["logits"]
    alone = outputs(pulled.infer(infer(model, pixel_values=pixels[1:])))["logits"]
    assert together.shape[1:] == raw.shape[1:]
    np.testing.assert_allclose(together[1:], alone, atol=1e-3 * float(np.abs(alone).max()))


@pytest.mark.parametrize("model", ["yolos", "segformer"])
def test_command_draws_what_was_found(server: ServerProcess, tmp_path: Path, model: str) -> None:
    for name, data in (("cat.jpg", JPEGS[0]), ("turned.png", turned())):
        (tmp_path / name).write_bytes(data)
    done = run_preloaded(
        "predict", model, str(tmp_path), "--draw", str(tmp_path / "drawn"), "--json", "--server", server.target
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [Path(line["drawn"]).name for line in lines] == ["cat-drawn.png", "turned-drawn.png"]
    for line in lines:
        drawn, before = Image.open(line["drawn"]), Image.open(line["input"])
        assert drawn.size == before.size == (line["image"]["width"], line["image"]["height"])
        assert np.abs(np.asarray(drawn, float) - np.asarray(before.convert("RGB"), float)).mean() > 1
    assert (tmp_path / "cat.jpg").read_bytes() == JPEGS[0]


def test_tensors_of_a_size_that_no_photo_has_are_refused(pulled: Stubs) -> None:
    for sides in ((8, 2000), (0, 64)):
        image = np.zeros((1, 3, *sides), np.float32)
        error = expect_error(lambda image=image: pulled.infer(infer("yolos", pixel_values=image)))
        assert error.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("options", [{"top_k": 0}, {"threshold": 1.5}, {"max_new_tokens": 3}])
def test_wrong_option_is_refused_by_its_name(pulled: Stubs, options: dict[str, Any]) -> None:
    error = expect_error(lambda: pulled.predict(ask("detr", {"image": JPEGS[0]}, **options)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", f"options.{next(iter(options))}")
