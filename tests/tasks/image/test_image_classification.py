"""Any photo that people have lying about becomes the same tensor as it would in training, or is refused with a reason."""

import io
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import golden_path
from service.errors import InvalidInput
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask
from service.tasks.image import image_input
from service.tasks.image.image_input import ImageInput, UprightImage, decode_image, resize_and_crop
from service.types import AudioInstance, Classification, ImageInstance, Item, Options, TensorInstance, TextInstance
from tests.support.pictures import (
    encoded,
    jpeg_with_size,
    photo,
    png,
    rotated_by_exif,
    webp_with_size,
)

CARD = Catalog.from_package().get("efficientnet_lite0")
PATH = "instances[0]"


@pytest.fixture
def task() -> ComposedTask:
    return ComposedTask(ImageInput, LabelAnswers, CARD, [f"class {i}" for i in range(1000)])


@pytest.fixture
def cat(examples: Path) -> Image.Image:
    return photo(examples)


def pixels_of(task: ComposedTask, data: bytes) -> np.ndarray[Any, Any]:
    (item,) = task.preprocess([ImageInstance(data)], [PATH])
    assert isinstance(item, Item), item
    array = item.tensors["pixel_values"]
    assert (array.dtype, array.shape) == (np.float32, (3, 224, 224))
    assert np.isfinite(array).all()
    return array


def refusal(task: ComposedTask, data: bytes) -> InvalidInput:
    (error,) = task.preprocess([ImageInstance(data)], [PATH])
    assert isinstance(error, InvalidInput), error
    assert error.field == PATH
    return error


# ── as in training ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["cat.jpg", "coffee.jpg", "rocket.jpg"])
def test_a_photo_becomes_what_timms_own_transform_makes_of_it(task: ComposedTask, examples: Path, name: str) -> None:
    from timm.data import create_transform

    recipe = CARD.recipe
    theirs = create_transform(
        input_size=(3, *recipe.size),  # type: ignore[union-attr]
        interpolation=recipe.interpolation,  # type: ignore[union-attr]
        mean=recipe.mean,  # type: ignore[union-attr]
        std=recipe.std,  # type: ignore[union-attr]
        crop_pct=recipe.size[0] / recipe.resize_shorter,  # type: ignore[union-attr]
    )
    expected = theirs(photo(examples, name)).numpy()
    ours = pixels_of(task, (examples / name).read_bytes())
    difference = np.abs(ours - expected)
    level = 2 / 255  # one step of a pixel, in units of the tensor
    assert difference.max() < 2 * level
    assert difference.mean() < 0.01 * level


def test_a_photo_of_the_very_size_is_only_normalised(task: ComposedTask, cat: Image.Image) -> None:
    exact = cat.resize((256, 256))
    expected = (np.asarray(exact, np.float64)[16:240, 16:240].transpose(2, 0, 1) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(pixels_of(task, encoded(exact, "PNG")), expected, atol=1e-6)


def test_the_middle_is_kept_and_the_ends_are_cut_off(task: ComposedTask) -> None:
    striped = np.zeros((256, 1024, 3), np.uint8)
    striped[:, 400:624] = (0, 255, 0)
    array = pixels_of(task, encoded(Image.fromarray(striped), "PNG"))
    np.testing.assert_allclose(array[:, :, 5:-5], np.broadcast_to([[[-1]], [[1]], [[-1]]], (3, 224, 214)), atol=0.02)


def test_channels_stand_in_the_order_red_green_blue(task: ComposedTask) -> None:
    array = pixels_of(task, encoded(Image.new("RGB", (300, 300), (255, 128, 0)), "PNG"))
    np.testing.assert_allclose(array[:, 100, 100], [1, 128 / 127.5 - 1, -1], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 300), (5000, 2), (2, 5000), (223, 225), (10_000, 1)])
def test_an_image_of_any_shape_gives_the_same_tensor_shape(task: ComposedTask, size: tuple[int, int]) -> None:
    array = pixels_of(task, encoded(Image.new("RGB", size, (255, 0, 0)), "PNG"))
    np.testing.assert_allclose(array, np.broadcast_to([[[1]], [[-1]], [[-1]]], array.shape), atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_the_crop_never_reaches_outside_the_image(width: int, height: int) -> None:
    image = Image.new("L", (width, height))
    assert resize_and_crop(UprightImage(image, image.size), CARD.recipe).size == (224, 224)  # type: ignore[arg-type]


# ── clothes that a photo may wear ─────────────────────────────────────────────────────────────────────────────────


def near(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], mean: float) -> None:
    assert np.abs(a - b).mean() < mean


@pytest.fixture
def camera(cat: Image.Image) -> Image.Image:
    """The cat as a camera of many pixels would give it: sides that are no multiple of eight, and grain."""
    width, height = cat.width * 5 + 3, cat.height * 5 + 1
    large = np.asarray(cat.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(5).normal(0.0, 6.0, large.shape).astype(np.float32)
    return Image.fromarray((large + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_photo_is_decoded_smaller_and_looks_the_same(
    task: ComposedTask, camera: Image.Image, orientation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = rotated_by_exif(camera, orientation)
    assert decode_image(data, 50_000_000, PATH, 512).image.size < decode_image(data, 50_000_000, PATH).image.size
    small = pixels_of(task, data)
    monkeypatch.setattr(image_input, "OVERSAMPLING", 0)
    whole = pixels_of(task, data)
    grey = np.abs(small - whole) * 127.5
    assert grey.mean() < 1.0
    assert grey.max() < 10.0, "a shift of the crop would show at every edge"


def test_a_photo_that_is_not_much_too_large_is_decoded_whole(task: ComposedTask, cat: Image.Image) -> None:
    wide = cat.resize((1500, 1000), Image.Resampling.BICUBIC)
    assert decode_image(encoded(wide, "JPEG"), 50_000_000, PATH, 512).image.size == (1500, 1000)


def test_the_format_does_not_matter(task: ComposedTask, cat: Image.Image) -> None:
    exact = pixels_of(task, encoded(cat, "PNG"))
    np.testing.assert_array_equal(pixels_of(task, encoded(cat, "WEBP", lossless=True)), exact)
    near(pixels_of(task, encoded(cat, "JPEG", quality=95)), exact, 0.02)
    near(pixels_of(task, encoded(cat, "JPEG", quality=95, progressive=True)), exact, 0.02)
    mpo = encoded(cat, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", cat.size)])
    near(pixels_of(task, mpo), exact, 0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_that_says_how_it_is_turned_is_set_upright(
    task: ComposedTask, cat: Image.Image, orientation: int
) -> None:
    upright = pixels_of(task, encoded(cat, "JPEG", quality=95, subsampling=0))
    near(pixels_of(task, rotated_by_exif(cat, orientation)), upright, 0.01)


def test_a_cmyk_jpeg_is_read(task: ComposedTask, cat: Image.Image) -> None:
    data = encoded(cat.convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    near(pixels_of(task, data), pixels_of(task, encoded(cat, "PNG")), 0.05)


def test_a_grey_photo_has_three_equal_channels(task: ComposedTask, cat: Image.Image) -> None:
    array = pixels_of(task, encoded(cat.convert("L"), "JPEG"))
    np.testing.assert_array_equal(array[0], array[1])
    np.testing.assert_array_equal(array[0], array[2])


def test_sixteen_bits_a_pixel_are_scaled_not_clipped(task: ComposedTask, cat: Image.Image) -> None:
    grey = np.asarray(cat.convert("L"))
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    data = encoded(wide, "PNG")
    assert Image.open(io.BytesIO(data)).mode.startswith("I")
    near(pixels_of(task, data), pixels_of(task, encoded(Image.fromarray(grey), "PNG")), 1e-3)


def test_sixteen_bit_colour_is_read(task: ComposedTask) -> None:
    row = b"\x00" + b"\xff\xff\x80\x00\x00\x00" * 30
    array = pixels_of(task, png(30, 30, depth=16, colour=2, pixels=row * 30))
    np.testing.assert_allclose(array[:, 9, 9], [1, 128 / 127.5 - 1, -1], atol=0.02)


def test_a_palette_is_looked_up(task: ComposedTask, cat: Image.Image) -> None:
    palette = cat.quantize(256)
    near(pixels_of(task, encoded(palette, "PNG")), pixels_of(task, encoded(palette.convert("RGB"), "PNG")), 1e-6)


# Pictures with an alpha channel are seen as a person sees them, on white. They used to lose the channel, and then showed colours
# that nobody ever saw: whatever the program that cut them out had left behind, often black.


def on_white(picture: Image.Image) -> bytes:
    seen = picture.convert("RGBA")
    return encoded(Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB"), "PNG")


@pytest.mark.parametrize("transparency", [3, bytes(range(256))])
def test_a_palette_with_transparency_is_seen_on_white(
    task: ComposedTask, cat: Image.Image, transparency: int | bytes
) -> None:
    data = encoded(cat.quantize(256), "PNG", transparency=transparency)
    near(pixels_of(task, data), pixels_of(task, on_white(Image.open(io.BytesIO(data)))), 0.02)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_what_is_half_transparent_is_half_white(task: ComposedTask, cat: Image.Image, mode: str, kind: str) -> None:
    seen = cat.convert(mode[:-1])
    seen.putalpha(Image.linear_gradient("L").resize(cat.size).point(lambda v: max(v, 1)))
    how = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    near(pixels_of(task, encoded(seen, kind, **how)), pixels_of(task, on_white(seen)), 0.02)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_one_colour_that_stands_for_nothing_is_white(task: ComposedTask, mode: str) -> None:
    hidden: Any = (0, 0, 0) if mode == "RGB" else 0
    data = encoded(Image.new(mode, (300, 300)), "PNG", transparency=hidden)
    np.testing.assert_allclose(pixels_of(task, data), 1.0, atol=1e-6)


def test_colours_under_full_transparency_are_never_seen(task: ComposedTask, cat: Image.Image) -> None:
    hidden, blank = cat.convert("RGBA"), Image.new("RGBA", cat.size, (0, 0, 0, 0))
    hidden.putalpha(0)
    np.testing.assert_array_equal(pixels_of(task, encoded(hidden, "PNG")), pixels_of(task, encoded(blank, "PNG")))


def test_an_opaque_alpha_channel_changes_nothing(task: ComposedTask, cat: Image.Image) -> None:
    np.testing.assert_array_equal(
        pixels_of(task, encoded(cat.convert("RGBA"), "PNG")), pixels_of(task, encoded(cat, "PNG"))
    )


def test_one_bit_a_pixel_is_black_and_white(task: ComposedTask) -> None:
    array = pixels_of(task, encoded(Image.new("1", (300, 300), 1), "PNG"))
    np.testing.assert_allclose(array, 1.0, atol=1e-6)


def test_an_animation_is_read_as_its_first_picture(task: ComposedTask, cat: Image.Image) -> None:
    data = encoded(cat, "WEBP", save_all=True, append_images=[Image.new("RGB", cat.size)], lossless=True)
    near(pixels_of(task, data), pixels_of(task, encoded(cat, "PNG")), 0.02)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_a_damaged_note_of_the_camera_does_not_cost_the_photo(task: ComposedTask, cat: Image.Image) -> None:
    plain = encoded(cat, "JPEG")
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(range(40))
    marker = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    np.testing.assert_array_equal(pixels_of(task, plain[:2] + marker + plain[2:]), pixels_of(task, plain))


# ── what is no photo ──────────────────────────────────────────────────────────────────────────────────────────────


def test_no_bytes_are_no_image(task: ComposedTask) -> None:
    assert "is empty; expected a JPEG, PNG or WebP" in refusal(task, b"").message


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 1000,
        b"hello",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\x00\x00\x00\x00WEBP",
        b"<svg/>",
        b"%PDF-1.7",
    ],
)
def test_what_is_not_an_image_is_refused(task: ComposedTask, data: bytes) -> None:
    assert refusal(task, data).message.startswith(PATH)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_a_format_that_was_not_promised_is_refused(task: ComposedTask, cat: Image.Image, kind: str) -> None:
    """Fewer decoders, fewer holes."""
    data = encoded(cat.resize((64, 64)), kind)
    assert refusal(task, data).message == f"{PATH}: expected a JPEG, PNG or WebP image, got something else"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(task: ComposedTask, cat: Image.Image, kind: str, share: float) -> None:
    data = encoded(cat, kind)
    assert "truncated or damaged" in refusal(task, data[: int(len(data) * share)]).message


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding a pixel fails the test."""

    def load(self: ImageFile.ImageFile) -> None:
        pytest.fail("a pixel was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


@pytest.mark.usefixtures("undecoded")
@pytest.mark.parametrize("size", [(60_000, 60_000), (8000, 8000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_a_png_that_promises_too_many_pixels_is_refused_by_its_header(
    task: ComposedTask, size: tuple[int, int]
) -> None:
    assert f"expected at most 50,000,000 pixels, got {size[0]:,} × {size[1]:,}" in refusal(task, png(*size)).message


@pytest.mark.parametrize("side", [60_000, 65_535, 8000])
def test_a_jpeg_that_promises_too_many_pixels_is_refused_by_its_header(
    task: ComposedTask, cat: Image.Image, request: pytest.FixtureRequest, side: int
) -> None:
    data = jpeg_with_size(encoded(cat, "JPEG"), side, side)
    request.getfixturevalue("undecoded")
    assert f"expected at most 50,000,000 pixels, got {side:,} × {side:,}" in refusal(task, data).message


def test_a_webp_that_promises_too_many_pixels_is_refused_by_its_header(
    task: ComposedTask, request: pytest.FixtureRequest
) -> None:
    recipe = CARD.recipe.model_copy(update={"max_pixels": 600})
    small = ComposedTask(ImageInput, LabelAnswers, CARD.model_copy(update={"recipe": recipe}))
    data = encoded(Image.new("RGB", (30, 30)), "WEBP")
    request.getfixturevalue("undecoded")
    assert "expected at most 600 pixels, got 30 × 30" in refusal(small, data).message
    refusal(task, webp_with_size(60_000, 60_000))


def test_an_image_of_just_so_many_pixels_is_read(task: ComposedTask) -> None:
    recipe = CARD.recipe.model_copy(update={"max_pixels": 600})
    small = ComposedTask(ImageInput, LabelAnswers, CARD.model_copy(update={"recipe": recipe}))
    pixels_of(small, encoded(Image.new("RGB", (30, 20)), "PNG"))
    assert "at most 600 pixels" in refusal(small, encoded(Image.new("RGB", (601, 1)), "PNG")).message


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_no_damage_to_an_image_ever_escapes_as_another_error(data: st.DataObject) -> None:
    rng = np.random.default_rng(3)
    small = Image.fromarray(rng.integers(0, 255, (40, 30, 3), np.uint8))
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"]))
    damaged = bytearray(encoded(small, kind))
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    outcome: object
    try:
        outcome = decode_image(bytes(damaged), 50_000_000, PATH).image.mode
    except InvalidInput as error:
        outcome = error.field
    assert outcome in ("RGB", PATH)


def test_another_kind_of_instance_is_refused_by_name(task: ComposedTask) -> None:
    given_instances = [TextInstance(b"cat"), AudioInstance(b"RIFF")]
    outcomes = task.preprocess(given_instances, ["instances[0]", "instances[1]"])
    assert [str(o) for o in outcomes] == [
        f"instances[{i}]: expected image or tensors for model 'efficientnet_lite0', got {what}"
        for i, what in enumerate(["text", "audio"])
    ]


def test_decoding_in_many_threads_leaves_the_warnings_of_the_process_alone(
    cat: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`warnings.catch_warnings` is not safe between threads: two that overlap leave the first one's filters behind."""
    data, first_inside, second_inside, first_left = encoded(cat, "JPEG"), *(threading.Event() for _ in range(3))
    opened = Image.open

    def staged(*args: Any, **how: Any) -> Any:
        if threading.current_thread().name == "first":
            first_inside.set()
            second_inside.wait(20)
        else:
            second_inside.set()
            first_left.wait(20)
        return opened(*args, **how)

    before = list(warnings.filters)
    monkeypatch.setattr(Image, "open", staged)
    first, second = (
        threading.Thread(target=decode_image, args=(data, 50_000_000, PATH), name=name) for name in ("first", "second")
    )
    first.start()
    assert first_inside.wait(20)
    second.start()
    first.join(20)
    first_left.set()
    second.join(20)
    assert list(warnings.filters) == before


# ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────


def answer(task: ComposedTask, logits: Any, **options: Any) -> Classification:
    result = task.postprocess({"logits": np.asarray(logits, np.float32)}, Item({}), Options(**options))
    assert isinstance(result, Classification)
    return result


def logits(**best: float) -> np.ndarray[Any, Any]:
    values = np.zeros(1000, np.float32)
    for name, value in best.items():
        values[int(name[1:])] = value
    return values


def test_the_best_labels_come_first_with_their_probabilities(task: ComposedTask) -> None:
    given_logits = logits(_7=5, _3=9, _900=7)
    labels = answer(task, given_logits, top_k=3).labels
    assert [(label.index, label.name) for label in labels] == [(3, "class 3"), (900, "class 900"), (7, "class 7")]
    expected = torch.softmax(torch.from_numpy(given_logits), 0)
    assert [label.score for label in labels] == pytest.approx([float(expected[i]) for i in (3, 900, 7)], rel=1e-5)


def test_five_labels_are_given_unless_told_otherwise(task: ComposedTask) -> None:
    assert len(answer(task, logits()).labels) == 5
    assert len(answer(task, logits(), top_k=1).labels) == 1


def test_more_labels_than_there_are_give_them_all(task: ComposedTask) -> None:
    labels = answer(task, np.random.default_rng(0).standard_normal(1000), top_k=2**31 - 1).labels
    assert len(labels) == 1000
    scores = [label.score for label in labels]
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1)


def test_labels_below_the_threshold_are_left_out(task: ComposedTask) -> None:
    given_logits = logits(_1=12, _2=11)
    assert [label.index for label in answer(task, given_logits, threshold=0.1).labels] == [1, 2]
    assert [label.index for label in answer(task, given_logits, threshold=0.5).labels] == [1]
    assert answer(task, logits(), threshold=0.5).labels == ()
    assert len(answer(task, logits(), threshold=0.0).labels) == 5


def test_huge_logits_do_not_overflow(task: ComposedTask) -> None:
    (label,) = answer(task, logits(_5=1e30), top_k=1).labels
    assert (label.index, label.score) == (5, 1.0)


def test_the_golden_check_takes_any_of_the_labels_that_are_as_good(task: ComposedTask) -> None:
    expect = next(case.expect for case in CARD.golden if case.expect.or_labels)  # type: ignore[union-attr]
    named = ComposedTask(ImageInput, LabelAnswers, CARD, [expect.label, *expect.or_labels, *["goldfish"] * 5])  # type: ignore[union-attr]
    for i in range(3):
        values = np.zeros(8)
        values[i] = 9
        assert named.golden_problem(expect, answer(named, values), {}) is None
        faint = values * 0.01
        assert "expected 'tiger cat'" in str(named.golden_problem(expect, answer(named, faint), {}))
    assert "got 'goldfish'" in str(named.golden_problem(expect, answer(named, [0, 0, 0, 9, 0, 0, 0, 0]), {}))


# ── the network's own tensors ─────────────────────────────────────────────────────────────────────────────────────


def test_a_row_of_tensors_is_taken_as_it_is(task: ComposedTask) -> None:
    array = np.zeros((3, 224, 224), np.float32)
    array[0] = np.nan
    item = task.row(TensorInstance({"pixel_values": array}), PATH)
    assert item.tensors["pixel_values"] is array


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({}, "input pixel_values is missing"),
        ({"pixels": np.zeros(1)}, ".pixels: the model has no such input; it takes pixel_values"),
        ({"pixel_values": np.zeros((3, 224, 224))}, "expected FP32, got float64"),
        ({"pixel_values": np.zeros((224, 224, 3), np.float32)}, r"expected shape [3, 224, 224] a row"),
        ({"pixel_values": np.zeros((1, 3, 224, 224), np.float32)}, "got [1, 3, 224, 224]"),
        ({"pixel_values": np.zeros((), np.float32)}, "got []"),
    ],
)
def test_a_wrong_row_of_tensors_is_told_what_was_expected(
    task: ComposedTask, tensors: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        task.row(TensorInstance(tensors), PATH)
    assert says in caught.value.message
    assert caught.value.field.startswith(PATH)


# ── the real network ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.weights
def test_the_cat_is_a_cat_however_it_is_dressed(served: Any, examples: Path) -> None:
    real = served("efficientnet_lite0")
    cat = photo(examples)
    clothes = [
        golden_path("cat.jpg").read_bytes(),
        encoded(cat, "PNG"),
        encoded(cat.convert("CMYK"), "JPEG", quality=95),
        encoded(cat.quantize(256), "PNG"),
        rotated_by_exif(cat, 6),
    ]
    for data in clothes:
        (item,) = real.task.preprocess([ImageInstance(data)], [PATH])
        (row,) = real.task.split(real.runtime.run(real.task.collate([item])[0]), [item])
        best = real.task.postprocess(row, item, Options()).labels[0]
        assert best.name in ("tiger cat", "Egyptian cat", "tabby, tabby cat")
        assert best.score > 0.25
