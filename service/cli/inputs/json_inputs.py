"""Rows, series and records as JSON documents, or as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from service.cli.inputs.input_source import InputSource, UnreadableInput
from service.cli.inputs.known_columns import KnownColumns
from service.cli.inputs.records import record_source


def parse_json(text: str) -> Any:
    """A JSON document; whole numbers become floats, as JSON's numbers are. Raises UnreadableInput."""
    try:
        return json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        raise UnreadableInput("is not valid JSON") from None


def json_source(name: str, document: Any, raw_input: str, folder: Path, columns: KnownColumns) -> InputSource:
    """The input in one document. `folder`: where paths of pictures begin."""
    if raw_input == "series":
        if isinstance(document, list):
            return InputSource(name, document)
        return InputSource(name, problem="expected an array of numbers")
    if not isinstance(document, dict):
        return InputSource(name, problem="expected an object with a value for each column")
    if raw_input == "record":
        return record_source(name, document, folder, columns)
    return InputSource(name, columns.select_inputs(document))


def json_line_sources(
    name: str, lines: Iterable[str], raw_input: str, folder: Path, columns: KnownColumns
) -> Iterator[InputSource]:
    """An input for each line that is not blank; a bad line fails alone."""
    for i, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield json_source(f"{name}:{i}", parse_json(line), raw_input, folder, columns)
            except UnreadableInput as error:
                yield InputSource(f"{name}:{i}", problem=str(error))
