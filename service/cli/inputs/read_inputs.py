"""Arguments of `zoo predict` as inputs of the client. The kind of input that the model takes decides who reads an argument."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from service.cli.inputs.input_source import STDIN, InputSource, UnreadableInput
from service.cli.inputs.known_columns import KnownColumns
from service.cli.inputs.paths import file_sources
from service.cli.inputs.structured import structured_sources
from service.cli.inputs.tensor_inputs import tensor_sources
from service.cli.inputs.texts import text_sources

if TYPE_CHECKING:
    from service.client import ModelInfo


def input_sources(
    arguments: Iterable[str], model: ModelInfo, version: str = "", text_column: str = ""
) -> Iterator[InputSource]:
    """Inputs for a model, or for one version of it, in the order of the arguments; files of a folder in order of name.

    Text model: an argument is a text unless it names a file or folder (`texts.py`); `-` reads a text a line from stdin.
    Model of rows, series or records: see `structured.py`. Model of tensors only: see `tensor_inputs.py`.
    Other models: an argument is a file, a folder or an archive of files; `-` is one encoded file on stdin.
    """
    raw_input, columns = model.raw_input, KnownColumns(model, version)
    for argument in arguments:
        try:
            if not argument.strip() and raw_input != "text":  # as a path it would be the current folder
                raise UnreadableInput("is empty; give a file, a folder or an input for the model")
            if raw_input == "text":
                yield from _lines() if argument == STDIN else text_sources(argument, columns, text_column)
            elif not raw_input and model.inputs:
                yield from tensor_sources(argument, model)
            elif raw_input in ("row", "series", "record"):
                yield from structured_sources(argument, raw_input, columns)
            elif argument == STDIN:
                yield InputSource(STDIN, sys.stdin.buffer.read())
            else:
                yield from file_sources(argument, raw_input)
        except UnreadableInput as error:
            yield InputSource(argument, problem=str(error))


def _lines() -> Iterator[InputSource]:
    for line in sys.stdin.buffer:
        raw = line.rstrip(b"\r\n")
        if raw:  # sent as bytes: a line that is not UTF-8 fails alone
            yield InputSource(raw.decode(errors="backslashreplace"), raw)
