"""Cells of a row: Python's own values, and those of common libraries, as a number, a text, a truth value or None."""

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
"""Whole numbers beyond are sent as their digits: a double would merge neighbours."""
_MOST_BITS = 4_096
"""Beyond them there is no double near, and Python may refuse to write the digits."""
_MISSING = ("NAType", "NaTType")
"""What pandas writes for a cell that is empty; its module is not imported for that."""
_TIMES = (datetime.date, datetime.time, datetime.timedelta)  # a datetime is a date
_KINDS = (str, bool, int, float, Decimal, Fraction, PurePath, bytes, bytearray, UUID, Enum, np.generic, *_TIMES)


def is_cell(value: object) -> bool:
    """Whether a value can stand in a column."""
    return value is None or isinstance(value, _KINDS) or _is_missing(value) or _is_scalar_array(value)


def plain_cell(value: Any, name: str) -> Plain:
    """A cell as a message holds it. Times are in ISO 8601, as in the tables that models are trained on.

    Raises BadInput, which names the column, for what is no cell.
    """
    if value is None or isinstance(value, bool):
        return value
    if _is_missing(value):
        return None
    if _is_scalar_array(value):
        return plain_cell(value.item(), name)
    if isinstance(value, np.generic):
        return _of_numpy(value, name)
    if isinstance(value, Enum):
        return plain_cell(value.value, name)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, Fraction):
        return _whole(value.numerator) if value.denominator == 1 else _double(value)
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
    """A value as a number in a series, None where it is none. None and what pandas writes for it are gaps: NaN."""
    if value is None or _is_missing(value):
        return math.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | Decimal | Fraction | np.number):
        return None
    try:
        return _double(value)
    except (TypeError, ValueError):
        return math.nan if isinstance(value, Decimal) and value.is_nan() else None


def _of_numpy(value: np.generic, name: str) -> Plain:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(np.datetime_as_string(value)).replace("T00:00:00.000000000", "")
    if isinstance(value, np.timedelta64):
        return None if np.isnat(value) else str(value.astype("timedelta64[us]").item())
    plain = value.item()
    if isinstance(plain, np.generic):  # long doubles have no Python type
        return float(plain)
    return plain_cell(plain, name)


def _double(value: Any) -> float:
    """A number as a double, infinite where none is as large."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _whole(value: int) -> float | str:
    return float(value) if abs(value) <= _EXACT else str(value) if value.bit_length() < _MOST_BITS else _double(value)


def _decimal(value: Decimal) -> float | str:
    """Its digits where a double is not the same number; of no number and of infinity the double."""
    if value.is_nan():  # a signalling one, too, of which there is no double
        return math.nan
    number = float(value)
    return number if not value.is_finite() or Decimal(number) == value else str(value)


def _is_missing(value: object) -> bool:
    return type(value).__name__ in _MISSING


def _is_scalar_array(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == 0
