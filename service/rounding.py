"""Formats numbers that are compared: with enough digits to differ, and never as better when they are equal."""

from __future__ import annotations

import math

EQUAL_SHARE = 1e-9
"""Numbers that differ by less than this fraction of the larger one are equal; the rest is rounding."""
NOISE_SHARE = 1e-12
"""A number below this fraction of the largest one beside it is rounding around 0."""
MAX_DIGITS = 17
"""A double has no more significant digits."""


def is_equal(one: float, other: float) -> bool:
    """Whether two numbers are equal except for rounding. NaN equals nothing."""
    return one == other or (math.isfinite(one - other) and abs(one - other) <= EQUAL_SHARE * max(abs(one), abs(other)))


def is_better(ours: float, theirs: float, *, higher: bool) -> bool:
    """Whether `ours` is better; `higher`: whether more is better. Equal numbers and NaN are never better, nor is a number
    against NaN."""
    if math.isnan(ours) or math.isnan(theirs) or is_equal(ours, theirs):
        return False
    return ours > theirs if higher else ours < theirs


def format_apart(*figures: float, digits: int = 4, percent: bool = False, grouped: bool = False) -> tuple[str, ...]:
    """The numbers with `digits` significant digits, or with as many more as different ones need to look different.

    `percent`: shares of 0..1 as per cent, with at least one decimal. `grouped`: with thousands separators from 1000 on, and
    without decimals unless these distinguish numbers.
    """
    finite = [figure for figure in figures if math.isfinite(figure)]
    size = max(map(abs, finite), default=0.0)
    cleaned = [0.0 if abs(figure) < NOISE_SHARE * size or figure == 0 else figure for figure in figures]
    for more in range(MAX_DIGITS):
        shown = tuple(_shown(figure, digits, more, percent, grouped) for figure in cleaned)
        if all(
            shown[i] != shown[j] or is_equal(cleaned[i], cleaned[j]) or math.isnan(cleaned[i]) or math.isnan(cleaned[j])
            for i in range(len(cleaned))
            for j in range(i)
        ):
            break
    else:
        shown = tuple(map(repr, cleaned))
    same = [next(j for j in range(i + 1) if j == i or is_equal(cleaned[i], cleaned[j])) for i in range(len(cleaned))]
    return tuple(shown[i] for i in same)


def format_against(figure: float, bound: float, form: str = ".2g", bound_form: str = "") -> tuple[str, str]:
    """A number and the bound that it misses, in these formats, or with as many more digits as they need to look different.

    `bound_form`: the format of the bound, if it is another.
    """
    shown, other = f"{figure:{form}}", f"{bound:{bound_form or form}}"
    digits = 1
    while _same(shown, other) and not is_equal(figure, bound) and digits < MAX_DIGITS:
        digits += 1
        form = f".{digits}%" if form.endswith("%") else f".{digits}g"
        shown, other = f"{figure:{form}}", f"{bound:{form}}"
    return shown, other


def _same(one: str, other: str) -> bool:
    return float(one.rstrip("%")) == float(other.rstrip("%"))


def _shown(figure: float, digits: int, more: int, percent: bool, grouped: bool) -> str:
    if not math.isfinite(figure):
        return "NaN" if math.isnan(figure) else "infinite" if figure > 0 else "-infinite"
    if percent:
        return f"{100 * figure:.{1 + more}f} %"
    if grouped and 1000 <= abs(figure) < 1e15:
        whole = math.floor(math.log10(abs(figure))) + 1
        return f"{figure:,.{max(0, digits + more - max(whole, digits))}f}"
    return f"{figure:.{digits + more}g}"
