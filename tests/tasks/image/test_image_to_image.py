"""Filtered photos: those of Pillow, alone or in a batch with others, in their own size and as PNGs."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from model_zoo.architectures.image.image_filter import ImageFilter as FilterNetwork
from model_zoo.architectures.wrappers import ImageToImage as Network
from model_zoo.cards.recipes import FilterKernel, WholeImageRecipe
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_case import GoldenInput, ImageExpectation, golden_path
from service.errors import InvalidInput, ZooError
from service.runtime.network import NetworkRuntime
from service.tasks.image.image_to_image import ImageToImage, reduced_size
from service.types import ImageInstance, Instance, Item, Options, TensorInstance, TextInstance, TransformedImage
from tests.support.tasks.pictures import encoded, png, rotated_by_exif

CARD = Catalog.from_package().get("image_filter")
RECIPE = CARD.recipe
assert isinstance(RECIPE, WholeImageRecipe)
TASK = ImageToImage(CARD)
RUNTIME = NetworkRuntime(Network(FilterNetwork(), "image"), "cpu")
CAT = golden_path("cat.jpg").read_bytes()
COFFEE = golden_path("coffee.jpg").read_bytes()


def item(data: bytes, task: ImageToImage = TASK, **options: Any) -> Item:
    instance: Instance = ImageInstance(data)
    if task.expands:
        expanded = task.expand(instance, Options(**options), "instances[0]")
        assert expanded is not None
        instance = expanded
    [found] = task.preprocess([instance], ["instances[0]"])
    assert isinstance(found, Item), found
    return found


def rows(items: list[Item]) -> list[dict[str, Any]]:
    found: dict[int, Any] = {}
    for group in TASK.groups(items):
        some = [items[i] for i in group]
        found |= zip(group, TASK.split(RUNTIME.run(TASK.collate(some)[0]), some), strict=True)
    return [found[i] for i in range(len(items))]


def answer(data: bytes, **options: Any) -> TransformedImage:
    one = item(data, **options)
    [row] = rows([one])
    return TASK.postprocess(row, one, Options(**options))


def pixels(found: TransformedImage) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(found.image)))


def by_pillow(image: Image.Image, kernel: FilterKernel) -> np.ndarray:
    """Pillow turns kernels upside down first, and leaves the pixels of the edge as they are."""
    rows = [kernel.numbers[i : i + 3] for i in (6, 3, 0)]
    flipped = [number for row in rows for number in row]
    return np.asarray(image.filter(ImageFilter.Kernel((3, 3), flipped, kernel.scale, kernel.offset)))


@pytest.mark.parametrize("name", [name for name, kernel in RECIPE.kernels.items() if kernel.second is None])
def test_filtered_photo_is_that_of_pillow_inside_the_edge(name: str) -> None:
    found = pixels(answer(CAT, kernel=name))
    expected = by_pillow(Image.open(io.BytesIO(CAT)), RECIPE.kernels[name])
    np.testing.assert_array_equal(found[1:-1, 1:-1], expected[1:-1, 1:-1])


def test_own_kernel_is_that_of_pillow_inside_the_edge() -> None:
    kernel = FilterKernel(numbers=(1, 2, 3, -4, 5.5, 6, 7, -8, 9), scale=21.5, offset=-3)
    found = pixels(answer(CAT, kernel="1,2,3,-4,5.5,6,7,-8,9", kernel_offset=-3.0))
    expected = by_pillow(Image.open(io.BytesIO(CAT)), kernel)
    assert np.abs(found[1:-1, 1:-1].astype(int) - expected[1:-1, 1:-1]).max() <= 1


def test_pixels_beyond_the_edge_are_those_of_the_edge() -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    found = pixels(answer(encoded(Image.fromarray(image), "PNG"), kernel="box_blur"))
    padded = np.pad(image.astype(float), ((1, 1), (1, 1), (0, 0)), "edge")
    expected = sum(padded[y : y + 4, x : x + 5] for y in range(3) for x in range(3)) / 9
    np.testing.assert_array_equal(found, np.floor(expected + 0.5))


def test_sobel_is_the_length_of_the_gradient() -> None:
    image = np.zeros((5, 6, 3), np.uint8)
    image[:, 3:] = 10
    image[3:] += 20
    found = pixels(answer(encoded(Image.fromarray(image), "PNG"), kernel="sobel"))
    across = pixels(answer(encoded(Image.fromarray(image), "PNG"), kernel="sobel_x", kernel_offset=0.0)).astype(float)
    down = pixels(answer(encoded(Image.fromarray(image), "PNG"), kernel="sobel_y", kernel_offset=0.0)).astype(float)
    np.testing.assert_array_equal(found, np.floor(np.sqrt(across**2 + down**2) + 0.5))
    assert found.max() > 80


def test_identity_gives_the_photo_upright() -> None:
    upright = Image.open(io.BytesIO(COFFEE)).convert("RGB").resize((90, 60))
    found = answer(rotated_by_exif(upright, 6), kernel="identity")
    assert (found.width, found.height) == (90, 60)
    turned = Image.open(io.BytesIO(rotated_by_exif(upright, 6))).convert("RGB").transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(pixels(found), np.asarray(turned))


def test_images_of_any_mode_and_of_one_pixel_have_an_answer() -> None:
    for image in (Image.new("L", (1, 1), 7), Image.new("RGBA", (3, 1)), Image.new("P", (1, 9)), Image.new("1", (2, 2))):
        found = answer(encoded(image, "PNG"), kernel="blur")
        assert (found.width, found.height) == image.size
        assert pixels(found).shape == (image.height, image.width, 3)


def test_rows_with_different_kernels_share_a_batch_and_equal_those_alone() -> None:
    items = [item(CAT, kernel=name) for name in RECIPE.kernels]
    assert TASK.groups(items) == [[*range(len(items))]]
    for one, together in zip(items, rows(items), strict=True):
        np.testing.assert_array_equal(rows([one])[0]["image"], together["image"])


def test_images_of_different_sizes_are_never_one_batch() -> None:
    items = [item(CAT, kernel="blur"), item(COFFEE, kernel="outline"), item(CAT, kernel="emboss")]
    assert TASK.groups(items) == [[0, 2], [1]]
    for one, together in zip(items, rows(items), strict=True):
        np.testing.assert_array_equal(rows([one])[0]["image"], together["image"])
    assert rows(items)[1]["size"].tolist() == [400, 600]


def test_large_photo_is_reduced_with_a_note() -> None:
    small = CARD.model_copy(update={"recipe": RECIPE.model_copy(update={"fit_pixels": 1000})})
    task = ImageToImage(small)
    found = item(CAT, task, kernel="identity")
    assert found.tensors["pixels"].shape == (25, 38, 3)
    assert found.notes == {"reduced": True, "width": 38, "height": 25}
    expected = np.asarray(Image.open(io.BytesIO(CAT)).resize((38, 25), Image.Resampling.BICUBIC), float)
    assert np.abs(found.tensors["pixels"] - expected).mean() < 2
    assert item(CAT).notes == {}


@pytest.mark.parametrize("size", [(1, 1), (1000, 1000), (1001, 1000), (50_000_000, 1), (1, 3_000_000), (4000, 3000)])
def test_reduced_size_has_no_more_pixels_than_allowed(size: tuple[int, int]) -> None:
    width, height = reduced_size(size, 1_000_000)
    assert 1 <= width * height <= 1_000_000
    if size[0] * size[1] <= 1_000_000:
        assert (width, height) == size
    elif min(size) > 1000:
        assert width / height == pytest.approx(size[0] / size[1], rel=0.01)


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        (ImageInstance(b""), "is empty"),
        (ImageInstance(b"GIF89a"), "expected a JPEG, PNG or WebP image, got something else"),
        (ImageInstance(CAT[:5000]), "truncated or damaged"),
        (ImageInstance(png(30_000, 30_000)), "expected at most 50,000,000 pixels"),
        (TextInstance(b"cat"), "expected image or tensors for model 'image_filter', got text"),
    ],
)
def test_bad_instance_fails_alone(instance: Instance, reason: str) -> None:
    wrong, right = TASK.preprocess([instance, ImageInstance(CAT)], ["instances[0]", "instances[1]"])
    assert isinstance(wrong, ZooError)
    assert reason in wrong.message
    assert isinstance(right, Item)


def test_unknown_kernel_fails_the_call() -> None:
    with pytest.raises(InvalidInput, match="expected one of sharpen"):
        TASK.check(Options(kernel="sharp"))
    TASK.check(Options(kernel="outline", kernel_scale=2.0, kernel_offset=1.0))


def test_kernel_has_no_meaning_for_other_networks_of_the_task() -> None:
    other = ImageToImage(CARD.model_copy(update={"recipe": RECIPE.model_copy(update={"kernels": {}})}))
    assert not other.expands
    with pytest.raises(InvalidInput, match="has no meaning"):
        other.check(Options(kernel="blur"))


def tensors(height: int = 4, width: int = 5, **other: Any) -> TensorInstance:
    known: dict[str, Any] = {
        "pixels": np.zeros((height, width, 3), np.uint8),
        "kernel": np.zeros((2, 3, 3), np.float32),
        "offset": np.zeros(1, np.float32),
    }
    return TensorInstance({**known, **other})


def test_tensors_of_a_call_are_checked() -> None:
    assert TASK.row(tensors(), "instances[0]").tensors["pixels"].shape == (4, 5, 3)
    for wrong, field in (
        (tensors(0, 5), "pixels"),
        (tensors(1500, 1500), "pixels"),
        (tensors(kernel=np.full((2, 3, 3), np.nan, np.float32)), "kernel"),
        (tensors(offset=np.full(1, np.inf, np.float32)), "offset"),
        (tensors(pixels=np.zeros((4, 5, 4), np.uint8)), "pixels"),
        (tensors(pixels=np.zeros((4, 5, 3), np.float32)), "pixels"),
    ):
        with pytest.raises(InvalidInput) as refused:
            TASK.row(wrong, "instances[0]")
        assert refused.value.field == f"instances[0].{field}"


def test_golden_case_detects_another_size_and_other_values() -> None:
    instance = TASK.golden_instance(GoldenInput(file="cat.jpg", kernel="blur"))
    [one] = TASK.preprocess([instance], ["golden"])
    assert isinstance(one, Item)
    found = TASK.postprocess(rows([one])[0], one, Options())
    values = tuple(
        int(value) for value in np.asarray(pixels(found), float).ravel()[np.arange(16) * (451 * 300 * 3) // 16]
    )
    right = ImageExpectation(width=451, height=300, values=values, tolerance=0)
    assert TASK.golden_problem(right, found, {}) is None
    narrow = right.model_copy(update={"width": 450})
    assert TASK.golden_problem(narrow, found, {}) == "expected 450 × 300 pixels, got 451 × 300"
    other = right.model_copy(update={"values": (values[0] + 3, *values[1:])})
    assert TASK.golden_problem(other, found, {}) == "a value is off by 3; allowed is 0"


def test_super_resolution_takes_small_images_and_no_kernel() -> None:
    task = ImageToImage(Catalog.from_package().get("esrgan_slim_x4"))
    assert item(CAT, task).tensors.keys() == {"pixels"}
    [large] = task.preprocess([ImageInstance(png(600, 600))], ["instances[0]"])
    assert isinstance(large, InvalidInput)
    assert large.message == "instances[0]: expected at most 262,144 pixels, got 600 × 600"
    with pytest.raises(InvalidInput, match="has no meaning for the task image-to-image"):
        task.check(Options(kernel="blur"))
    with pytest.raises(InvalidInput, match="expected 1 to 262,144 pixels, got 600 × 600"):
        task.row(TensorInstance({"pixels": np.zeros((600, 600, 3), np.uint8)}), "instances[0]")
