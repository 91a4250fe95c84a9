"""An image filter on a real server: by the SDK, the Open Inference Protocol and tensors; with other kernels side by side."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from service.client import Client, TransformedImage
from service.pb import models_pb2
from tests.support.end_to_end.preloaded import run_preloaded
from tests.support.end_to_end.server_process import EXAMPLES, TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import Stubs, ask, expect_error, infer, outputs, tensors

NAME = "image_filter"
PHOTO = min(EXAMPLES.glob("*.jpg"), key=lambda path: path.stat().st_size)
SHARPEN = "0,-1,0,-1,5,-1,0,-1,0"


@pytest.fixture(scope="module", autouse=True)
def loaded(stubs: Stubs) -> Iterator[None]:
    stubs.models.LoadModel(models_pb2.LoadModelRequest(name=NAME), timeout=TIMEOUT_S)
    yield
    stubs.models.UnloadModel(models_pb2.UnloadModelRequest(name=NAME), timeout=TIMEOUT_S)


@pytest.fixture(scope="module")
def photo() -> bytes:
    image = Image.open(PHOTO).convert("RGB")
    image.thumbnail((160, 160))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def sharpened(photo: bytes) -> np.ndarray:
    kernel = ImageFilter.Kernel((3, 3), [int(number) for number in SHARPEN.split(",")], 1)
    return np.asarray(Image.open(io.BytesIO(photo)).filter(kernel))


def test_callers_with_different_kernels_get_their_own_images(
    server: ServerProcess, photo: bytes, tmp_path: Path
) -> None:
    kernels: list[Any] = [
        "sharpen",
        SHARPEN,
        np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
        "identity",
        "outline",
        "sobel",
    ]
    with Client(server.target) as client, ThreadPoolExecutor(6) as callers:
        found = list(callers.map(lambda kernel: client.predict(NAME, photo, kernel=kernel)[0], kernels * 3))
    for kernel, one in zip(kernels * 3, found, strict=True):
        assert isinstance(one, TransformedImage), kernel
        assert (one.height, one.width) == pixels(photo).shape[:2]
    for one in found[:3]:
        assert isinstance(one, TransformedImage)
        np.testing.assert_array_equal(pixels(one.image)[1:-1, 1:-1], sharpened(photo)[1:-1, 1:-1])
    assert isinstance(found[3], TransformedImage)
    np.testing.assert_array_equal(pixels(found[3].image), pixels(photo))


def test_open_inference_gives_the_pixels_of_the_same_image(stubs: Stubs, photo: bytes) -> None:
    request = infer(NAME, image=[photo, photo])
    request.parameters["kernel"].string_param = "sharpen"
    raw = outputs(stubs.infer(request))
    np.testing.assert_array_equal(raw["image"][1][1:-1, 1:-1], sharpened(photo)[1:-1, 1:-1])
    assert raw["size"].tolist() == [list(pixels(photo).shape[:2])] * 2
    kernel = np.zeros((1, 2, 3, 3), np.float32)
    kernel[0, 0] = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    given = {"pixels": pixels(photo)[None], "kernel": kernel, "offset": np.zeros((1, 1), np.float32)}
    by_tensors = outputs(stubs.infer(infer(NAME, **given)))
    np.testing.assert_array_equal(by_tensors["image"], raw["image"][:1])
    one = ask(NAME, tensors(**{name: array[0] for name, array in given.items()}))
    result = stubs.predict(one).predictions[0].tensors.tensors["image"]
    assert result.data == by_tensors["image"].tobytes()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kernel": "no such"}, "options.kernel"),
        ({"kernel": "1,2,3,4,5,6,7,8"}, "options.kernel"),
        ({"kernel": "0,0,0,0,nan,0,0,0,0"}, "options.kernel"),
        ({"kernel": "0,0,0,0,1e30,0,0,0,0"}, "options.kernel"),
        ({"kernel_scale": 0.0}, "options.kernel_scale"),
        ({"kernel_offset": float("inf")}, "options.kernel_offset"),
        ({"top_k": 3}, "options.top_k"),
    ],
)
def test_wrong_option_is_refused_by_name(stubs: Stubs, photo: bytes, options: dict[str, Any], field: str) -> None:
    refusal = expect_error(lambda: stubs.predict(ask(NAME, {"image": photo}, **options)))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field)
    if field != "options.top_k":
        request = infer(NAME, image=[photo])
        for name, value in options.items():
            setattr(request.parameters[name], "string_param" if isinstance(value, str) else "double_param", value)
        refusal = expect_error(lambda: stubs.infer(request))
        assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field.replace("options.", "parameters[") + "]")


def test_bad_image_fails_alone(stubs: Stubs, photo: bytes) -> None:
    given = [{"image": b""}, {"image": b"GIF89a"}, {"image": photo}, {"text": "cat"}, {"image": photo[:200]}]
    kinds = [one.WhichOneof("result") for one in stubs.predict(ask(NAME, *given, kernel="blur")).predictions]
    assert kinds == ["error", "error", "image", "error", "error"]


def test_command_writes_the_picture(server: ServerProcess, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(photo)
    ended = run_preloaded(
        *("predict", NAME, str(tmp_path / "photo.png"), "--kernel", "-1,0,1,-2,0,2,-1,0,1", "--kernel-offset", "128"),
        *("--draw", str(tmp_path / "out"), "--server", server.target),
    )
    assert ended.returncode == 0, ended.stderr
    assert pixels((tmp_path / "out" / f"photo-{NAME}.png").read_bytes()).shape == pixels(photo).shape


def test_model_passes_its_golden_cases_over_the_wire(server: ServerProcess) -> None:
    ended = run_preloaded("verify", NAME, "--server", server.target)
    assert ended.returncode == 0, ended.stdout + ended.stderr
