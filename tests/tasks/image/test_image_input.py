"""Any common photo becomes the same tensor as in training, or is refused with a reason."""

import io
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from model_zoo.cards.recipes import ImageRecipe
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import golden_path
from service.errors import InvalidInput
from service.tasks.classification import LabelAnswers
from service.tasks.composed import ComposedTask
from service.tasks.image import image_input
from service.tasks.image.image_input import ImageInput, UprightImage, decode_image, resize_and_crop, seen_area
from service.types import AudioInstance, ImageInstance, Item, Options, TensorInstance, TextInstance
from tests.support.tasks.pictures import (
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
def test_photo_tensor_equals_that_of_timms_transform(task: ComposedTask, examples: Path, name: str) -> None:
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


def test_photo_of_the_input_size_is_only_normalised(task: ComposedTask, cat: Image.Image) -> None:
    exact = cat.resize((256, 256))
    expected = (np.asarray(exact, np.float64)[16:240, 16:240].transpose(2, 0, 1) / 255 - 0.5) / 0.5
    np.testing.assert_allclose(pixels_of(task, encoded(exact, "PNG")), expected, atol=1e-6)


def test_centre_is_kept_and_the_ends_are_cropped(task: ComposedTask) -> None:
    striped = np.zeros((256, 1024, 3), np.uint8)
    striped[:, 400:624] = (0, 255, 0)
    array = pixels_of(task, encoded(Image.fromarray(striped), "PNG"))
    np.testing.assert_allclose(array[:, :, 5:-5], np.broadcast_to([[[-1]], [[1]], [[-1]]], (3, 224, 214)), atol=0.02)


def test_channels_are_in_the_order_red_green_blue(task: ComposedTask) -> None:
    array = pixels_of(task, encoded(Image.new("RGB", (300, 300), (255, 128, 0)), "PNG"))
    np.testing.assert_allclose(array[:, 100, 100], [1, 128 / 127.5 - 1, -1], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 300), (5000, 2), (2, 5000), (223, 225), (10_000, 1)])
def test_image_of_any_shape_gives_the_same_tensor_shape(task: ComposedTask, size: tuple[int, int]) -> None:
    array = pixels_of(task, encoded(Image.new("RGB", size, (255, 0, 0)), "PNG"))
    np.testing.assert_allclose(array, np.broadcast_to([[[1]], [[-1]], [[-1]]], array.shape), atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_crop_stays_inside_the_image(width: int, height: int) -> None:
    image = Image.new("L", (width, height))
    assert resize_and_crop(UprightImage(image, image.size), CARD.recipe).size == (224, 224)  # type: ignore[arg-type]


# ── encodings of photos ──────────────────────────────────────────────────────────────────────────────────────────


def near(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], mean: float) -> None:
    assert np.abs(a - b).mean() < mean


@pytest.fixture
def camera(cat: Image.Image) -> Image.Image:
    """The cat like a photo of a camera with many pixels: sides that are no multiple of eight, and grain."""
    width, height = cat.width * 5 + 3, cat.height * 5 + 1
    large = np.asarray(cat.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(5).normal(0.0, 6.0, large.shape).astype(np.float32)
    return Image.fromarray((large + grain).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_photo_decoded_at_a_smaller_scale_looks_the_same(
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


def test_slightly_larger_photo_is_decoded_whole(task: ComposedTask, cat: Image.Image) -> None:
    wide = cat.resize((1500, 1000), Image.Resampling.BICUBIC)
    assert decode_image(encoded(wide, "JPEG"), 50_000_000, PATH, 512).image.size == (1500, 1000)


def test_file_format_does_not_matter(task: ComposedTask, cat: Image.Image) -> None:
    exact = pixels_of(task, encoded(cat, "PNG"))
    np.testing.assert_array_equal(pixels_of(task, encoded(cat, "WEBP", lossless=True)), exact)
    near(pixels_of(task, encoded(cat, "JPEG", quality=95)), exact, 0.02)
    near(pixels_of(task, encoded(cat, "JPEG", quality=95, progressive=True)), exact, 0.02)
    mpo = encoded(cat, "MPO", quality=95, save_all=True, append_images=[Image.new("RGB", cat.size)])
    near(pixels_of(task, mpo), exact, 0.02)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rotated_photo_is_turned_upright(task: ComposedTask, cat: Image.Image, orientation: int) -> None:
    upright = pixels_of(task, encoded(cat, "JPEG", quality=95, subsampling=0))
    near(pixels_of(task, rotated_by_exif(cat, orientation)), upright, 0.01)


def test_cmyk_jpeg_is_read(task: ComposedTask, cat: Image.Image) -> None:
    data = encoded(cat.convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    near(pixels_of(task, data), pixels_of(task, encoded(cat, "PNG")), 0.05)


def test_grey_photo_has_three_equal_channels(task: ComposedTask, cat: Image.Image) -> None:
    array = pixels_of(task, encoded(cat.convert("L"), "JPEG"))
    np.testing.assert_array_equal(array[0], array[1])
    np.testing.assert_array_equal(array[0], array[2])


def test_sixteen_bit_pixels_are_scaled_not_clipped(task: ComposedTask, cat: Image.Image) -> None:
    grey = np.asarray(cat.convert("L"))
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    data = encoded(wide, "PNG")
    assert Image.open(io.BytesIO(data)).mode.startswith("I")
    near(pixels_of(task, data), pixels_of(task, encoded(Image.fromarray(grey), "PNG")), 1e-3)


def test_sixteen_bit_colour_is_read(task: ComposedTask) -> None:
    row = b"\x00" + b"\xff\xff\x80\x00\x00\x00" * 30
    array = pixels_of(task, png(30, 30, depth=16, colour=2, pixels=row * 30))
    np.testing.assert_allclose(array[:, 9, 9], [1, 128 / 127.5 - 1, -1], atol=0.02)


def test_palette_is_applied(task: ComposedTask, cat: Image.Image) -> None:
    palette = cat.quantize(256)
    near(pixels_of(task, encoded(palette, "PNG")), pixels_of(task, encoded(palette.convert("RGB"), "PNG")), 1e-6)


# Images with an alpha channel are shown on white. Without the channel they would show the colours that the program which cut
# them out had left behind, often black.


def on_white(picture: Image.Image) -> bytes:
    seen = picture.convert("RGBA")
    return encoded(Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB"), "PNG")


@pytest.mark.parametrize("transparency", [3, bytes(range(256))])
def test_palette_with_transparency_is_shown_on_white(
    task: ComposedTask, cat: Image.Image, transparency: int | bytes
) -> None:
    data = encoded(cat.quantize(256), "PNG", transparency=transparency)
    near(pixels_of(task, data), pixels_of(task, on_white(Image.open(io.BytesIO(data)))), 0.02)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_half_transparent_pixels_are_half_white(task: ComposedTask, cat: Image.Image, mode: str, kind: str) -> None:
    seen = cat.convert(mode[:-1])
    seen.putalpha(Image.linear_gradient("L").resize(cat.size).point(lambda v: max(v, 1)))
    how = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    near(pixels_of(task, encoded(seen, kind, **how)), pixels_of(task, on_white(seen)), 0.02)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_transparent_colour_is_white(task: ComposedTask, mode: str) -> None:
    hidden: Any = (0, 0, 0) if mode == "RGB" else 0
    data = encoded(Image.new(mode, (300, 300)), "PNG", transparency=hidden)
    np.testing.assert_allclose(pixels_of(task, data), 1.0, atol=1e-6)


def test_colours_under_full_transparency_are_ignored(task: ComposedTask, cat: Image.Image) -> None:
    hidden, blank = cat.convert("RGBA"), Image.new("RGBA", cat.size, (0, 0, 0, 0))
    hidden.putalpha(0)
    np.testing.assert_array_equal(pixels_of(task, encoded(hidden, "PNG")), pixels_of(task, encoded(blank, "PNG")))


def test_opaque_alpha_channel_changes_nothing(task: ComposedTask, cat: Image.Image) -> None:
    np.testing.assert_array_equal(
        pixels_of(task, encoded(cat.convert("RGBA"), "PNG")), pixels_of(task, encoded(cat, "PNG"))
    )


def test_one_bit_pixels_are_black_and_white(task: ComposedTask) -> None:
    array = pixels_of(task, encoded(Image.new("1", (300, 300), 1), "PNG"))
    np.testing.assert_allclose(array, 1.0, atol=1e-6)


def test_animation_gives_its_first_frame(task: ComposedTask, cat: Image.Image) -> None:
    data = encoded(cat, "WEBP", save_all=True, append_images=[Image.new("RGB", cat.size)], lossless=True)
    near(pixels_of(task, data), pixels_of(task, encoded(cat, "PNG")), 0.02)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_camera_metadata_does_not_cost_the_photo(task: ComposedTask, cat: Image.Image) -> None:
    plain = encoded(cat, "JPEG")
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(range(40))
    marker = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    np.testing.assert_array_equal(pixels_of(task, plain[:2] + marker + plain[2:]), pixels_of(task, plain))


# ── invalid photos ───────────────────────────────────────────────────────────────────────────────────────────────


def test_empty_bytes_are_refused(task: ComposedTask) -> None:
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
def test_bytes_that_are_no_image_are_refused(task: ComposedTask, data: bytes) -> None:
    assert refusal(task, data).message.startswith(PATH)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM", "ICO"])
def test_unsupported_image_format_is_refused(task: ComposedTask, cat: Image.Image, kind: str) -> None:
    """Fewer decoders mean fewer vulnerabilities."""
    data = encoded(cat.resize((64, 64)), kind)
    assert refusal(task, data).message == f"{PATH}: expected a JPEG, PNG or WebP image, got something else"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_image_is_refused(task: ComposedTask, cat: Image.Image, kind: str, share: float) -> None:
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
def test_png_with_too_many_pixels_is_refused_by_its_header(task: ComposedTask, size: tuple[int, int]) -> None:
    assert f"expected at most 50,000,000 pixels, got {size[0]:,} × {size[1]:,}" in refusal(task, png(*size)).message


@pytest.mark.parametrize("side", [60_000, 65_535, 8000])
def test_jpeg_with_too_many_pixels_is_refused_by_its_header(
    task: ComposedTask, cat: Image.Image, request: pytest.FixtureRequest, side: int
) -> None:
    data = jpeg_with_size(encoded(cat, "JPEG"), side, side)
    request.getfixturevalue("undecoded")
    assert f"expected at most 50,000,000 pixels, got {side:,} × {side:,}" in refusal(task, data).message


def test_webp_with_too_many_pixels_is_refused_by_its_header(task: ComposedTask, request: pytest.FixtureRequest) -> None:
    recipe = CARD.recipe.model_copy(update={"max_pixels": 600})
    small = ComposedTask(ImageInput, LabelAnswers, CARD.model_copy(update={"recipe": recipe}))
    data = encoded(Image.new("RGB", (30, 30)), "WEBP")
    request.getfixturevalue("undecoded")
    assert "expected at most 600 pixels, got 30 × 30" in refusal(small, data).message
    refusal(task, webp_with_size(60_000, 60_000))


def test_image_at_the_pixel_limit_is_read(task: ComposedTask) -> None:
    recipe = CARD.recipe.model_copy(update={"max_pixels": 600})
    small = ComposedTask(ImageInput, LabelAnswers, CARD.model_copy(update={"recipe": recipe}))
    pixels_of(small, encoded(Image.new("RGB", (30, 20)), "PNG"))
    assert "at most 600 pixels" in refusal(small, encoded(Image.new("RGB", (601, 1)), "PNG")).message


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_image_gives_pixels_or_invalid_input(data: st.DataObject) -> None:
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


def test_other_kind_of_instance_is_refused_by_name(task: ComposedTask) -> None:
    given_instances = [TextInstance(b"cat"), AudioInstance(b"RIFF")]
    outcomes = task.preprocess(given_instances, ["instances[0]", "instances[1]"])
    assert [str(o) for o in outcomes] == [
        f"instances[{i}]: expected image or tensors for model 'efficientnet_lite0', got {what}"
        for i, what in enumerate(["text", "audio"])
    ]


def test_decoding_in_threads_does_not_change_warning_filters(cat: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """`warnings.catch_warnings` is not thread-safe: two that overlap leave the filters of the first one behind."""
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


# ── the network's own tensors ─────────────────────────────────────────────────────────────────────────────────────


def test_row_of_tensors_is_accepted_unchanged(task: ComposedTask) -> None:
    array = np.zeros((3, 224, 224), np.float32)
    array[0] = np.nan
    item = task.row(TensorInstance({"pixel_values": array}), PATH)
    assert item.tensors["pixel_values"] is array


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({}, "input pixel_values is missing"),
        ({"image": np.zeros(1)}, ".image: the model has no such input; it takes pixel_values, and pixels in place of"),
        ({"pixel_values": np.zeros((3, 224, 224))}, "expected FP32, got float64"),
        ({"pixel_values": np.zeros((224, 224, 3), np.float32)}, r"expected shape [3, 224, 224] a row"),
        ({"pixel_values": np.zeros((1, 3, 224, 224), np.float32)}, "got [1, 3, 224, 224]"),
        ({"pixel_values": np.zeros((), np.float32)}, "got []"),
    ],
)
def test_wrong_row_of_tensors_is_refused_with_the_expected_form(
    task: ComposedTask, tensors: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        task.row(TensorInstance(tensors), PATH)
    assert says in caught.value.message
    assert caught.value.field.startswith(PATH)


# ── the real network ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.weights
def test_cat_is_recognised_in_every_encoding(served: Any, examples: Path) -> None:
    real = served("efficientnet_lite0")
    cat = photo(examples)
    encodings = [
        golden_path("cat.jpg").read_bytes(),
        encoded(cat, "PNG"),
        encoded(cat.convert("CMYK"), "JPEG", quality=95),
        encoded(cat.quantize(256), "PNG"),
        rotated_by_exif(cat, 6),
    ]
    for data in encodings:
        (item,) = real.task.preprocess([ImageInstance(data)], [PATH])
        (row,) = real.task.split(real.runtime.run(real.task.collate([item])[0]), [item])
        best = real.task.postprocess(row, item, Options()).labels[0]
        assert best.name in ("tiger cat", "Egyptian cat", "tabby, tabby cat")
        assert best.score > 0.25


def test_image_may_be_squeezed_before_its_crop() -> None:
    recipe = CARD.recipe.model_copy(
        update={"size": (32, 32), "resize_shorter": 40, "stretch_to": (40, 40), "interpolation": "bicubic"}
    )
    assert isinstance(recipe, ImageRecipe)
    image = Image.open(golden_path("cat.jpg")).convert("RGB")
    found = resize_and_crop(UprightImage(image, image.size), recipe)
    expected = image.resize((40, 40), Image.Resampling.BICUBIC).crop((4, 4, 36, 36))
    assert np.abs(np.asarray(found, float) - np.asarray(expected, float)).max() <= 1


@pytest.mark.parametrize(("rounding", "left"), [("even", 2), ("down", 1)])
def test_corner_of_a_crop_between_two_pixels_is_rounded_as_the_recipe_says(rounding: str, left: int) -> None:
    recipe = CARD.recipe.model_copy(
        update={"size": (32, 32), "resize_shorter": 35, "crop_rounding": rounding, "interpolation": "bicubic"}
    )
    assert isinstance(recipe, ImageRecipe)
    image = Image.open(golden_path("cat.jpg")).convert("RGB").resize((70, 70))
    found = resize_and_crop(UprightImage(image, image.size), recipe)
    expected = image.resize((35, 35), Image.Resampling.BICUBIC).crop((left, left, left + 32, left + 32))
    assert np.abs(np.asarray(found, float) - np.asarray(expected, float)).max() <= 1


@pytest.mark.parametrize(
    ("size", "changes", "area"),
    [
        ((600, 400), {}, (125.0, 25.0, 475.0, 375.0)),
        ((400, 600), {}, (25.0, 125.0, 375.0, 475.0)),
        ((600, 400), {"stretch": True}, (0.0, 0.0, 600.0, 400.0)),
        ((600, 400), {"stretch_to": (256, 256)}, (37.5, 25.0, 562.5, 375.0)),
        ((600, 300), {"letterbox": True}, (0.0, -150.0, 600.0, 450.0)),
        ((300, 600), {"letterbox": True}, (-150.0, 0.0, 450.0, 600.0)),
    ],
)
def test_area_that_the_network_sees_is_in_pixels_of_the_photo(
    size: tuple[int, int], changes: dict[str, Any], area: tuple[float, ...]
) -> None:
    recipe = ImageRecipe(
        kind="image",
        size=(224, 224),
        resize_shorter=256,
        interpolation="bicubic",
        mean=(0, 0, 0),
        std=(1, 1, 1),
        **changes,
    )
    assert seen_area(size, recipe) == pytest.approx(area)


def test_letterbox_shows_the_whole_image_in_its_proportions_between_black_bars() -> None:
    recipe = ImageRecipe(
        kind="image",
        size=(64, 64),
        resize_shorter=64,
        letterbox=True,
        interpolation="bilinear",
        mean=(0, 0, 0),
        std=(1, 1, 1),
    )
    for size, rows, columns in (((128, 64), slice(16, 48), slice(0, 64)), ((7, 70), slice(0, 64), slice(29, 35))):
        found = np.asarray(resize_and_crop(UprightImage(Image.new("RGB", size, "white"), size), recipe))
        expected = np.zeros((64, 64, 3), np.uint8)
        expected[rows, columns] = 255
        np.testing.assert_array_equal(found, expected)
    thread = np.asarray(resize_and_crop(UprightImage(Image.new("RGB", (1, 1000), "white"), (1, 1000)), recipe))
    assert thread.any(axis=(0, 2)).sum() == 1, "an image of one column keeps it"
