"""Cells of a row: values of Python and of common libraries as a number, a text, a truth value or None."""

from __future__ import annotations

import datetime
import math
import os
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from service.client.errors import BadInput

Plain = float | str | bool | None
_EXACT = 2**53
"""A larger whole number is sent as text: a double cannot represent it exactly."""
_MAX_BITS = 4_096
"""A larger whole number is sent as infinity: Python may refuse to write its digits."""
_MISSING = ("NAType", "NaTType")
"""Types of pandas for an empty cell; checked by name, so that pandas is not imported."""


def plain_cell(value: Any, name: str) -> Plain:
    """The value of a cell in a message. Times are in ISO 8601, as in training tables.

    Raises BadInput, which names the column, for a value of another type.
    """
    if value is None or isinstance(value, bool):
        return value
    if _is_missing(value):
        return None
    if _is_scalar_array(value):
        return plain_cell(value.item(), name)
    if isinstance(value, np.generic):
        return _numpy_cell(value, name)
    if isinstance(value, Enum):
        return plain_cell(value.value, name)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return _whole_number(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, Fraction):
        return _whole_number(value.numerator) if value.denominator == 1 else _double(value)
    if isinstance(value, datetime.timedelta):
        return str(value)
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, PurePath):
        return os.fspath(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray):
        try:
            return bytes(value).decode()
        except UnicodeDecodeError:
            raise BadInput(f"column {name!r} holds bytes that are not UTF-8 text") from None
    kind = type(value).__name__
    raise BadInput(f"column {name!r} holds a {kind}; a number, text, truth value or None was expected")


def number_of(value: object) -> float | None:
    """A value as a number of a series; None if it is no number. None and the missing values of pandas are gaps: NaN."""
    if value is None or _is_missing(value):
        return math.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | Decimal | Fraction | np.number):
        return None
    try:
        return _double(value)
    except (TypeError, ValueError):
        return math.nan if isinstance(value, Decimal) and value.is_nan() else None


def _numpy_cell(value: np.generic, name: str) -> Plain:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(np.datetime_as_string(value)).replace("T00:00:00.000000000", "")
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else str(value.astype("timedelta64[us]").item())
    plain = value.item()
    if isinstance(plain, np.generic):  # a long double has no Python type
        return float(plain)
    return plain_cell(plain, name)


def _double(value: Any) -> float:
    """A number as a double; infinite if it exceeds the range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _whole_number(value: int) -> float | str:
    return float(value) if abs(value) <= _EXACT else str(value) if value.bit_length() < _MAX_BITS else _double(value)


def _decimal(value: Decimal) -> float | str:
    """The double if it is the same number, else the digits; NaN and infinity are doubles."""
    if value.is_nan():  # a signalling NaN, too, which float() refuses
        return math.nan
    number = float(value)
    return number if not value.is_finite() or Decimal(number) == value else str(value)


def _is_missing(value: object) -> bool:
    return type(value).__name__ in _MISSING


def _is_scalar_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0
