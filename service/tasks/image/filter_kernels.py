"""Kernels of 3 × 3 for filters of images, as callers name or write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_zoo.cards.recipes import FilterKernel
from service.errors import InvalidInput
from service.types import Array, Options

KERNEL_OPTIONS = ("kernel", "kernel_scale", "kernel_offset")
COUNT = 9
MOST = 1000.0
"""Greatest amount of a number of a kernel, and of an offset."""
LEAST_SCALE, MOST_SCALE = 1e-3, 1e6
MOST_DIVIDED = MOST / LEAST_SCALE
"""Greatest amount of a number that was divided by its scale. Sums of nine of them, and their squares, are finite in float32."""
LONGEST_KERNEL = 1000
"""Characters."""
_LONGEST_SHOWN = 40
_BETWEEN = re.compile(r"[\s,;\[\]()]+")
"""What separates numbers, such as those of a nested list."""


class Kernel(NamedTuple):
    """A kernel as the network takes it."""

    numbers: NDArray[np.float32]
    """`[2, 3, 3]`, divided by the scale; the second one zeros where there is none."""
    offset: float


def kernel_of(kernels: Mapping[str, FilterKernel], options: Options, field: str = "options.{}") -> Kernel:
    """The kernel that a caller has chosen; the first of `kernels` where the caller names none.

    A kernel of the caller's own is divided by the sum of its numbers unless a scale is given, as Pillow and GIMP do it; by 1
    where the sum is 0. A given scale or offset takes the place of that of a named kernel.

    Args:
        field: name of the field of an option in the caller's message, with braces for the option.

    Raises:
        InvalidInput: the name is not known, there are not nine numbers, or a number is out of bounds.
    """
    text = options.kernel
    known = kernels[next(iter(kernels))] if text is None else kernels.get(text.strip().lower())
    if known is None:
        assert text is not None
        numbers = _numbers(text, kernels, field.format("kernel"))
        total = math.fsum(numbers)
        known = FilterKernel(numbers=numbers, scale=total if abs(total) >= LEAST_SCALE else 1.0)
    scale, offset = options.kernel_scale, options.kernel_offset
    if scale is None:
        scale = known.scale
    elif not LEAST_SCALE <= abs(scale) <= MOST_SCALE:
        bounds = f"{LEAST_SCALE:g} to {MOST_SCALE:,.0f}, or the same below 0"
        raise InvalidInput(field.format("kernel_scale"), f"expected a number from {bounds}, got {scale:g}")
    if offset is None:
        offset = known.offset
    elif not abs(offset) <= MOST:
        raise InvalidInput(
            field.format("kernel_offset"), f"expected a number from {-MOST:,.0f} to {MOST:,.0f}, got {offset:g}"
        )
    pair = np.array([known.numbers, known.second or (0.0,) * COUNT], np.float32).reshape(2, 3, 3)
    return Kernel(pair / np.float32(scale), offset)


def check_kernel(kernel: Array, offset: Array, path: str, names: tuple[str, str]) -> None:
    """Raises InvalidInput for tensors of a kernel and an offset with a number that is not finite, or too large.

    Args:
        names: of both tensors.
    """
    for name, array in zip(names, (kernel, offset), strict=True):
        worst = np.abs(np.asarray(array, np.float64)).max(initial=0.0)
        if not worst <= MOST_DIVIDED:
            raise InvalidInput(
                f"{path}.{name}", f"expected numbers from {-MOST_DIVIDED:,.0f} to {MOST_DIVIDED:,.0f}, got {worst:g}"
            )


def _numbers(text: str, kernels: Mapping[str, FilterKernel], field: str) -> tuple[float, ...]:
    """Nine numbers, row by row. Raises InvalidInput."""
    if len(text) > LONGEST_KERNEL:
        raise InvalidInput(field, f"expected at most {LONGEST_KERNEL:,} characters, got {len(text):,}")
    parts = [part for part in _BETWEEN.split(text) if part]
    numbers = [_number(part) for part in parts]
    if not any(number is not None for number in numbers):
        raise InvalidInput(field, f"expected one of {', '.join(kernels)}, or nine numbers, got {_shown(text)}")
    for part, number in zip(parts, numbers, strict=True):
        if number is None:
            raise InvalidInput(field, f"expected nine numbers, got {_shown(part)} among them")
    found = tuple(number for number in numbers if number is not None)
    if len(found) != COUNT:
        raise InvalidInput(field, f"expected nine numbers, row by row, got {len(found)}")
    for number in found:
        if not abs(number) <= MOST:
            raise InvalidInput(field, f"expected numbers from {-MOST:,.0f} to {MOST:,.0f}, got {number:g}")
    return found


def _number(part: str) -> float | None:
    try:
        return float(part)
    except ValueError:
        return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…")
