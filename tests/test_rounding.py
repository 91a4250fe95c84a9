"""Numbers that are compared look different if they are, and equal ones are never better."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.rounding import (
    format_against,
    format_apart,
    is_better,
    is_equal,
)

FIGURES = st.floats(allow_nan=False, allow_infinity=False, width=64)


@pytest.mark.parametrize(
    ("figures", "shown"),
    [
        ((0.91, 0.5), ("0.91", "0.5")),
        ((105.612, 105.618), ("105.61", "105.62")),
        ((105.6, 105.6), ("105.6", "105.6")),
        ((105.6, 105.6 * (1 + 1e-13)), ("105.6", "105.6")),
        ((1e19, 1.0000001e19), ("1e+19", "1.0000001e+19")),
        ((0.9, 1e-17), ("0.9", "0")),
        ((1e-19, 2e-19), ("1e-19", "2e-19")),
        ((1.0, math.nan), ("1", "NaN")),
        ((1.0, math.inf, -math.inf), ("1", "infinite", "-infinite")),
        ((), ()),
    ],
)
def test_numbers_have_as_many_digits_as_distinguish_them(figures: tuple[float, ...], shown: tuple[str, ...]) -> None:
    assert format_apart(*figures) == shown


def test_shares_and_thousands_are_distinguished() -> None:
    assert format_apart(0.9631, 0.9634, percent=True) == ("96.31 %", "96.34 %")
    assert format_apart(0.5, 0.25, percent=True) == ("50.0 %", "25.0 %")
    assert format_apart(123456.2, 123456.9, digits=3, grouped=True) == ("123,456", "123,457")
    assert format_apart(123456.2, 123456.3, digits=3, grouped=True) == ("123,456.2", "123,456.3")
    assert format_apart(123456.2, 99.0, digits=3, grouped=True) == ("123,456", "99")


@given(FIGURES, FIGURES)
def test_better_of_two_numbers_looks_different(one: float, other: float) -> None:
    assert not (is_better(one, other, higher=True) and is_better(other, one, higher=True))
    assert is_better(one, other, higher=True) == is_better(other, one, higher=False)
    for form in ({}, {"percent": True}, {"grouped": True, "digits": 3}):
        first, second = format_apart(one, other, **form)  # type: ignore[arg-type]
        assert (first == second) == (not is_better(one, other, higher=True) and not is_better(one, other, higher=False))


@pytest.mark.parametrize("pair", [(1.0, 1.0), (0.1 + 0.2, 0.3), (math.nan, 0.0), (0.0, math.nan), (math.nan, math.nan)])
@pytest.mark.parametrize("higher", [True, False])
def test_equal_numbers_and_nan_are_never_better(pair: tuple[float, float], higher: bool) -> None:
    assert not is_better(*pair, higher=higher)


def test_rounding_difference_is_equal_and_a_larger_one_is_not() -> None:
    assert is_equal(0.1 + 0.2, 0.3)
    assert not is_equal(0.3, 0.3001)


@pytest.mark.parametrize(
    ("figure", "bound", "form", "bound_form", "shown"),
    [
        (0.9989, 0.999, ".5f", "g", ("0.99890", "0.999")),
        (0.9989999, 0.999, ".5f", "g", ("0.9989999", "0.999")),
        (0.0010001, 0.001, ".2g", "", ("0.0010001", "0.001")),
        (0.98, 1.0, ".1%", "", ("98.0%", "100.0%")),
        (0.89999, 0.9, ".1%", "", ("89.999%", "90.000%")),
        (math.nan, 0.001, ".2g", "", ("nan", "0.001")),
        (math.inf, 0.001, ".2g", "", ("inf", "0.001")),
    ],
)
def test_number_that_misses_its_bound_looks_different(
    figure: float, bound: float, form: str, bound_form: str, shown: tuple[str, str]
) -> None:
    assert format_against(figure, bound, form, bound_form) == shown
