"""Rows, series and records as callers send them: as messages of zoo.v1, and as JSON in elements of the Open Inference Protocol.

In JSON a row is an object, `{"area": 70, "town": "Bonn"}`; a series an array of numbers, `[1, 2, 3]`, or of arrays where each
step has several, `[[1, 10], [2, 20]]`; a record an object of its parts, the image in base64: `{"image": "/9j/4A…", "row": {…}}`.
NaN and Infinity are read as Python writes them; the task decides about them. Every mistake raises InvalidInput.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
from google.protobuf.struct_pb2 import Struct

from service.errors import InvalidInput
from service.pb import prediction_pb2 as pb
from service.protobuf_values import sorted_items
from service.types import ImageInstance, Instance, RecordInstance, RowInstance, SeriesInstance

LONGEST_ROW = 1 << 18
LONGEST_SERIES = 1 << 20
"""Bytes of JSON."""
MOST_DOCUMENTS = 4096
"""Of the rankings of one request, each of which is a row."""
MOST_CELLS = 10_000
"""Of one row."""
MOST_TOGETHER = 200_000
"""Cells of all rows in one request, or commas in its JSON: the event loop reads them, one to three a microsecond. Images in
base64 have no comma, and do not count."""
MOST_PARTS = 16
LONGEST_NAME = 64
MOST_DIGITS = 308
"""Of a whole number that stays exact."""


# ── zoo.v1 ────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_rows(instances: Sequence[pb.Instance]) -> None:
    """Raises InvalidInput where the rows of one request hold more cells, or its rankings more documents, than may be read at
    once."""
    _check_together(sum(map(_cells, instances)), "instances")
    documents = sum(len(one.ranking.documents) for one in instances if one.WhichOneof("kind") == "ranking")
    if documents > MOST_DOCUMENTS:
        raise InvalidInput("instances", f"expected at most {MOST_DOCUMENTS:,} documents together, got {documents:,}")


def _cells(instance: pb.Instance) -> int:
    kind = instance.WhichOneof("kind")
    if kind == "record":
        return sum(len(part.row.fields) for part in instance.record.parts.values())
    return len(instance.row.fields) if kind == "row" else 0


def read_row(message: Struct, path: str) -> RowInstance:
    """Cells by column; a list or an object in a cell is an error."""
    if len(message.fields) > MOST_CELLS:
        raise InvalidInput(path, f"expected at most {MOST_CELLS:,} cells, got {len(message.fields):,}")
    cells: dict[str, float | str | bool | None] = {}
    for name, value in sorted_items(message.fields):
        match value.WhichOneof("kind"):
            case "number_value":
                cells[name] = value.number_value
            case "string_value":
                cells[name] = value.string_value
            case "bool_value":
                cells[name] = value.bool_value
            case "list_value" | "struct_value":
                raise _bad_cell(name, path, "an array" if value.HasField("list_value") else "an object")
            case _:
                cells[name] = None
    return RowInstance(cells)


def read_series(message: pb.Series, path: str) -> SeriesInstance:
    """Steps × channels."""
    channels = message.channels or 1
    if channels < 1:
        raise InvalidInput(f"{path}.channels", f"expected 1 or more, or 0 for 1, got {channels}")
    values = np.array(message.values, np.float64)
    if len(values) % channels:
        raise InvalidInput(f"{path}.values", f"expected a multiple of {channels} channels, got {len(values)} numbers")
    return SeriesInstance(values.reshape(-1, channels))


def read_record(message: pb.Record, path: str, read_part: Callable[[pb.Instance, str], Instance]) -> RecordInstance:
    """The parts by name, each read by `read_part`."""
    if len(message.parts) > MOST_PARTS:
        raise InvalidInput(f"{path}.parts", f"expected at most {MOST_PARTS}, got {len(message.parts)}")
    parts = {}
    for name, part in sorted_items(message.parts):
        at = f"{path}.parts.{_shown(name)}"
        if part.WhichOneof("kind") == "record":
            raise InvalidInput(at, "a record cannot be a part of a record")
        parts[name] = read_part(part, at)
    return RecordInstance(parts)


# ── JSON ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def parse_row(data: bytes, path: str) -> RowInstance:
    """A JSON object → its cells."""
    return _row(_parsed(data, path, "an object of cells by column", LONGEST_ROW, _exact), path)


def parse_series(data: bytes, path: str) -> SeriesInstance:
    """A JSON array of numbers, or of arrays of equal length → steps × channels."""
    wanted = "an array of numbers, or of arrays with as many numbers each"
    document = _parsed(data, path, wanted, LONGEST_SERIES)
    if not isinstance(document, list):
        raise InvalidInput(path, f"expected JSON of {wanted}, got {_kind_of(document)}")
    nested = bool(document) and isinstance(document[0], list)
    width = len(document[0]) if nested else 1
    for i, step in enumerate(document if nested else ()):
        if not isinstance(step, list) or len(step) != width:
            came = len(step) if isinstance(step, list) else 1
            raise InvalidInput(path, f"expected {width} numbers in every step, got {came} in step {i}")
    flat = list(chain.from_iterable(document)) if nested else document
    if not set(map(type, flat)) <= {float, NoneType}:
        wrong = next(i for i, value in enumerate(flat) if type(value) not in (float, NoneType))
        raise InvalidInput(path, f"expected numbers alone, got {_kind_of(flat[wrong])} in step {wrong // width}")
    # null is a gap, as NaN is; the task refuses both and names the step
    return SeriesInstance(np.array(flat, np.float64).reshape(len(document), width))


def parse_record(data: bytes, path: str) -> RecordInstance:
    """A JSON object with parts `image` (base64) and `row` (an object)."""
    document = _parsed(data, path, "an object with an image in base64 and a row", None, _exact)
    if not isinstance(document, dict):
        raise InvalidInput(path, f"expected JSON of an object with an image and a row, got {_kind_of(document)}")
    parts: dict[str, Instance] = {}
    for name, value in document.items():
        if name == "image":
            parts[name] = ImageInstance(_unbase64(value, f"{path}.image"))
        elif name == "row":
            parts[name] = _row(value, path)
        else:
            raise InvalidInput(f"{path}.{_shown(name)}", "a record has an image and a row, and nothing else")
    return RecordInstance(parts)


_PARSERS: Mapping[str, Callable[[bytes, str], Instance]] = {
    "row": parse_row,
    "series": parse_series,
    "record": parse_record,
}
JSON_INPUTS = frozenset(_PARSERS)
"""Raw inputs that are sent as JSON."""


def parse_elements(raw_input: str, elements: Sequence[bytes], field: str) -> list[Instance]:
    """All elements of a raw input of rows, series or records. Raises InvalidInput for the first that is wrong."""
    _check_together(sum(element.count(b",") + 1 for element in elements), field)
    parse = _PARSERS[raw_input]
    return [parse(element, f"{field}[{i}]") for i, element in enumerate(elements)]


def _check_together(cells: int, field: str) -> None:
    if cells > MOST_TOGETHER:
        raise InvalidInput(field, f"expected at most {MOST_TOGETHER:,} cells in one request, got {cells:,}")


def _parsed(
    data: bytes, path: str, wanted: str, longest: int | None, parse_int: Callable[[str], float | int] = float
) -> Any:
    if longest is not None and len(data) > longest:
        raise InvalidInput(path, f"expected at most {longest:,} bytes of JSON, got {len(data):,}")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        document: dict[str, Any] = {}
        for name, value in found:
            if name in document:
                raise InvalidInput(path, f"expected each name once, got {_shown(name)!r} again")
            document[name] = value
        return document

    try:
        # Numbers are doubles, as in zoo.v1; so no number has so many digits that reading it takes long. Whole numbers in cells
        # stay exact: they may be names.
        document = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_int=parse_int)
        if b"\\u" in data:  # an escape can express what UTF-8 cannot, and no reply could repeat it
            json.dumps(document, ensure_ascii=False).encode()
        return document
    except InvalidInput:
        raise
    except UnicodeDecodeError as error:
        raise InvalidInput(path, f"expected UTF-8, got a byte that is not at position {error.start}") from None
    except UnicodeEncodeError:
        raise InvalidInput(path, "holds half a surrogate pair, which is no text") from None
    except RecursionError:
        raise InvalidInput(path, f"expected JSON of {wanted}, got one that is nested too deep") from None
    except ValueError as error:
        where = f" at position {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInput(path, f"expected JSON of {wanted}, got something that is no JSON{where}") from None


def _row(document: Any, path: str) -> RowInstance:
    if not isinstance(document, dict):
        raise InvalidInput(path, f"expected JSON of an object of cells by column, got {_kind_of(document)}")
    if len(document) > MOST_CELLS:
        raise InvalidInput(path, f"expected at most {MOST_CELLS:,} cells, got {len(document):,}")
    for name, value in document.items():
        if isinstance(value, list | dict):
            raise _bad_cell(name, f"{path}.row", _kind_of(value))
    return RowInstance(document)


def _unbase64(value: Any, path: str) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(path, f"expected an encoded image in base64, got {_kind_of(value)}")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(path, "expected base64, got characters or a length that it does not have") from None


def _exact(digits: str) -> float | int:
    """A whole number as a double where a double holds it, otherwise exactly, unless it has too many digits."""
    value = float(digits)
    return value if abs(value) <= 2**53 or len(digits) > MOST_DIGITS else int(digits)


def _bad_cell(name: str, path: str, came: str) -> InvalidInput:
    shown = _shown(name)
    return InvalidInput(f"{path}.{shown}", f"column {shown!r} takes a number, a text, true, false or null, got {came}")


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "an array", str: "a text", bool: "a truth value"}
    return kinds.get(type(value), "a number")


def _shown(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
