"""Rows, series and records as messages. A value that cannot be sent raises BadInput."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from service.client.errors import BadInput
from service.client.inputs.cells import number_of, plain_cell
from service.pb import prediction_pb2 as pb

_MAX_DIGITS = 308
"""A whole number with more digits exceeds the range of a double."""

Cell = float | str | bool | Decimal | date | time | timedelta | PurePath | None
"""The value of one column of a row; see `cells.py`."""


def is_series(value: object) -> bool:
    """Whether a list is one series, of numbers and gaps alone, and not many inputs."""
    if not isinstance(value, list | tuple) or not value:
        return False
    return any(part is not None for part in value) and all(number_of(part) is not None for part in value)


def row(cells: Mapping[Any, Any]) -> pb.Instance:
    """A row of a table: numbers, texts, truth values or None by column; `cells.py` converts other values."""
    made = pb.Instance()
    made.row.SetInParent()
    _check_names_differ(cells)
    for name, value in cells.items():
        if not isinstance(name, str):
            raise BadInput(f"a column is called {name!r}; a name is a text")
        field = made.row.fields[_valid_text(name, "a column's name")]
        match plain_cell(value, name):
            case None:
                field.null_value = 0  # type: ignore[assignment]  # the only value of NullValue
            case bool() as truth:
                field.bool_value = truth
            case str() as text:
                field.string_value = _valid_text(text, f"column {name!r}")
            case number:
                field.number_value = number
    return made


def _check_names_differ(cells: Mapping[Any, Any]) -> None:
    """Raises BadInput for two names that differ only in surrounding spaces or Unicode form: a model sees one column."""
    names = [name for name in cells if isinstance(name, str)]
    if all(name.isascii() and name == name.strip() for name in names):
        return
    known: dict[str, str] = {}
    for name in names:
        if (other := known.setdefault(unicodedata.normalize("NFC", name.strip()), name)) != name:
            raise BadInput(f"the columns {other!r} and {name!r} have the same name; a row has each once")


def series(values: Any) -> pb.Instance:
    """A time series: `[steps]` or `[steps, channels]`; None is a gap."""
    try:
        if isinstance(values, list | tuple) and all(number_of(part) is not None for part in values):
            values = [number_of(part) for part in values]
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise BadInput("a series holds something else than numbers, or steps of unlike lengths") from None
    if array.ndim not in (1, 2):
        raise BadInput(f"a series has shape [steps] or [steps, channels], and one of {list(array.shape)} came")
    channels = array.shape[1] if array.ndim == 2 else 1
    return pb.Instance(series=pb.Series(values=array.ravel(), channels=channels))


def parse_json(data: bytes) -> Any:
    """The Python values of a JSON document in UTF-8."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_int=_number)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        raise BadInput("the file or text is not valid JSON in UTF-8") from None


def row_or_series(document: Any, raw_input: str) -> pb.Instance:
    """A JSON document as the input of a model that takes rows or series."""
    if raw_input == "series" and isinstance(document, list):
        return series(document)
    if raw_input == "row" and isinstance(document, dict):
        return row(document)
    wanted = "an array of numbers" if raw_input == "series" else "an object of cells by column"
    raise BadInput(f"the model takes {wanted}, and other JSON came")


def _number(digits: str) -> float | int:
    value = float(digits)  # int() is slow for many digits, and refuses above a limit
    return int(digits) if len(digits) <= _MAX_DIGITS else value


def _valid_text(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} holds lone surrogates, so it is not valid Unicode") from None
    return text


def is_record(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a record: one of its parts is a row, a path or encoded bytes."""
    return any(isinstance(part, Mapping | Path | bytes | bytearray | memoryview) for part in value.values())


def with_row(value: Mapping[Any, Any]) -> dict[Any, Any]:
    """A record with its cells in a part `row`: `{"image": …, "area": 70}` becomes `{"image": …, "row": {"area": 70}}`."""
    if "row" in value or "image" not in value:
        return dict(value)
    return {"image": value["image"], "row": {name: cell for name, cell in value.items() if name != "image"}}
