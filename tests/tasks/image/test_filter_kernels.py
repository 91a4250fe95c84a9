"""Kernels are read by name or as nine numbers, and a wrong one is refused by the name of its field."""

from __future__ import annotations

import numpy as np
import pytest

from model_zoo.cards.recipes import WholeImageRecipe
from model_zoo.catalog import Catalog
from service.errors import InvalidInput
from service.tasks.image.filter_kernels import check_kernel, kernel_of
from service.types import Options

RECIPE = Catalog.from_package().get("image_filter").recipe
assert isinstance(RECIPE, WholeImageRecipe)
KERNELS = RECIPE.kernels
SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]


def read(
    kernel: str | None = None, scale: float | None = None, offset: float | None = None
) -> tuple[np.ndarray, float]:
    return kernel_of(KERNELS, Options(kernel=kernel, kernel_scale=scale, kernel_offset=offset))


def test_kernel_that_is_not_named_is_the_first() -> None:
    numbers, offset = read()
    np.testing.assert_array_equal(numbers, [SHARPEN, np.zeros((3, 3))])
    assert numbers.dtype == np.float32
    assert offset == 0.0
    np.testing.assert_array_equal(read(" Sharpen ")[0], numbers)


@pytest.mark.parametrize(
    "text",
    [
        "0,-1,0,-1,5,-1,0,-1,0",
        "0 -1 0 -1 5 -1 0 -1 0",
        "[[0, -1, 0], [-1, 5, -1], [0, -1, 0]]",
        "0;-1;0\n-1,5.0,-1e0,0,-1,0",
    ],
)
def test_nine_numbers_are_read_row_by_row(text: str) -> None:
    np.testing.assert_array_equal(read(text)[0][0], SHARPEN)


def test_named_kernel_has_its_own_scale_and_offset() -> None:
    np.testing.assert_allclose(read("box_blur")[0][0], np.full((3, 3), 1 / 9), rtol=1e-6)
    assert read("sobel_x")[1] == 128.0
    assert read("sobel")[0][1].tolist() == [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]


def test_given_scale_and_offset_take_the_place_of_those_of_the_name() -> None:
    numbers, offset = read("sobel_x", 4.0, 0.0)
    assert numbers[0].tolist() == [[-0.25, 0, 0.25], [-0.5, 0, 0.5], [-0.25, 0, 0.25]]
    assert offset == 0.0


def test_own_kernel_is_divided_by_its_sum_as_pillow_does() -> None:
    np.testing.assert_allclose(read("1," * 9)[0][0], np.full((3, 3), 1 / 9), rtol=1e-6)
    np.testing.assert_array_equal(read("-1,0,1,-2,0,2,-1,0,1")[0][0], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    np.testing.assert_array_equal(read("1," * 9, 1.0)[0][0], np.ones((3, 3)))


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        ("1,2,3,4,5,6,7,8", "expected nine numbers, row by row, got 8"),
        ("1,2,3,4,5,6,7,8,9,10", "got 10"),
        ("0,0,0,0,nan,0,0,0,0", "expected numbers from -1,000 to 1,000, got nan"),
        ("0,0,0,0,inf,0,0,0,0", "got inf"),
        ("0,0,0,0,1e300,0,0,0,0", r"got 1e\+300"),
        ("0,0,0,0,x,0,0,0,0", "expected nine numbers, got 'x' among them"),
        ("sharp", "expected one of sharpen, blur, box_blur, .*identity, or nine numbers, got 'sharp'"),
        ("", "expected one of sharpen"),
        ("z" * 900, "zzz…'"),
        ("1," * 5000, "expected at most 1,000 characters, got 10,000"),
    ],
)
def test_wrong_kernel_is_refused_by_name(kernel: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        read(kernel)
    assert refused.value.field == "options.kernel"


@pytest.mark.parametrize("scale", [0.0, 1e-9, float("nan"), float("inf"), 1e9])
def test_wrong_scale_is_refused_by_name(scale: float) -> None:
    with pytest.raises(InvalidInput, match=r"expected a number from 0\.001") as refused:
        read("blur", scale)
    assert refused.value.field == "options.kernel_scale"


@pytest.mark.parametrize("offset", [float("nan"), float("-inf"), 1e9])
def test_wrong_offset_is_refused_by_name(offset: float) -> None:
    with pytest.raises(InvalidInput, match="expected a number from -1,000 to 1,000") as refused:
        read("blur", None, offset)
    assert refused.value.field == "options.kernel_offset"


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), 1e20])
def test_tensors_of_a_kernel_have_bounds(wrong: float) -> None:
    good, bad = np.zeros((2, 3, 3), np.float32), np.zeros((2, 3, 3), np.float32)
    bad[1, 2, 0] = wrong
    check_kernel(good, good[0, 0, :1], "instances[0]", ("kernel", "offset"))
    with pytest.raises(InvalidInput) as refused:
        check_kernel(bad, good[0, 0, :1], "instances[0]", ("kernel", "offset"))
    assert refused.value.field == "instances[0].kernel"
    with pytest.raises(InvalidInput) as refused:
        check_kernel(good, bad[1, 2, :1], "instances[0]", ("kernel", "offset"))
    assert refused.value.field == "instances[0].offset"
