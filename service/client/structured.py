"""Rows, series and records of Python → messages. No model is asked here; what cannot be sent raises BadInput."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from service.client.errors import BadInput
from service.pb import prediction_pb2 as pb

_EXACT = 2**53
"""Up to which whole numbers are doubles as they are."""
_MOST_DIGITS = 308

Cell = float | str | bool | None
"""What stands in one column of a row."""


def is_cell(value: object) -> bool:
    """Whether a value can stand in a column."""
    return value is None or isinstance(value, str | bool | int | float | np.generic)


def is_series(value: object) -> bool:
    """Whether a list is one series rather than many inputs: of numbers alone."""
    return isinstance(value, list | tuple) and bool(value) and all(_is_number(part) for part in value)


def row(cells: Mapping[Any, Any]) -> pb.Instance:
    """A row of a table: numbers, texts, truth values or None by column."""
    made = pb.Instance()
    made.row.SetInParent()
    for name, value in cells.items():
        if not isinstance(name, str):
            raise BadInput(f"a column is called {name!r}; a name is a text")
        field = made.row.fields[_text(name, "a column's name")]
        plain = value.item() if isinstance(value, np.generic) else value
        match plain:
            case None:
                field.null_value = 0  # type: ignore[assignment]  # the only value of its enum
            case bool():
                field.bool_value = plain
            case str():
                field.string_value = _text(plain, f"column {name!r}")
            case int() if abs(plain) > _EXACT:  # a message has doubles alone, which would merge it with its neighbours
                field.string_value = _digits(plain, name)
            case int() | float():
                try:
                    field.number_value = float(plain)
                except OverflowError:
                    raise BadInput(f"column {name!r} holds a number that no double holds") from None
            case _:
                kind = type(value).__name__
                raise BadInput(f"column {name!r} holds a {kind}; a number, text, truth value or None was expected")
    return made


def series(values: Any) -> pb.Instance:
    """Numbers in time: `[steps]` or `[steps, channels]`; None is a gap."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("a series holds something else than numbers, or steps of unlike lengths") from None
    if array.ndim not in (1, 2):
        raise BadInput(f"a series has shape [steps] or [steps, channels], and one of {list(array.shape)} came")
    channels = array.shape[1] if array.ndim == 2 else 1
    return pb.Instance(series=pb.Series(values=array.ravel(), channels=channels))


def parse(data: bytes) -> Any:
    """Bytes of a JSON file as Python's own values."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_int=_number)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError too
        raise BadInput("the file or text is not valid JSON in UTF-8") from None


def of_json(document: Any, raw_input: str) -> pb.Instance:
    """A JSON document as the input of a model that takes rows, series or records."""
    if raw_input == "series" and isinstance(document, list):
        return series(document)
    if raw_input == "row" and isinstance(document, dict):
        return row(document)
    wanted = "an array of numbers" if raw_input == "series" else "an object of cells by column"
    raise BadInput(f"the model takes {wanted}, and other JSON came")


def _number(digits: str) -> float | int:
    value = float(digits)  # of any number of digits at once, where int() takes its time or refuses
    return int(digits) if len(digits) <= _MOST_DIGITS else value


def _digits(value: int, name: str) -> str:
    if abs(value) >= 10**_MOST_DIGITS:
        raise BadInput(f"column {name!r} holds a number that no double holds")
    return str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _text(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} holds lone surrogates, so it is not valid Unicode") from None
    return text


def is_record(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is several inputs that belong together: one of its parts is a row, a path or encoded bytes."""
    return any(isinstance(part, Mapping | Path | bytes | bytearray | memoryview) for part in value.values())
