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
    arguments: Iterable[str],
    model: ModelInfo,
    version: str = "",
    text_column: str = "",
    text_pair: str | None = None,
    query: str | None = None,
) -> Iterator[InputSource]:
    """Inputs for a model, or for one version of it, in the order of the arguments; files of a folder in order of name.

    Text model: an argument is a text unless it names a file or folder (`texts.py`); `-` reads a text a line from stdin.
    `text_pair` is a second text that is read with each of them; of a table, the column that holds it.
    `query` is the first text of pairs whose second one is the input.
    Model of rows, series or records: see `structured.py`. Model of tensors only: see `tensor_inputs.py`.
    Other models: an argument is a file, a folder or an archive of files; `-` is one encoded file on stdin.
    """
    raw_input, columns = model.raw_input, KnownColumns(model, version)
    for argument in arguments:
        try:
            if not argument.strip() and raw_input != "text":  # as a path it would be the current folder
                raise UnreadableInput("is empty; give a file, a folder or an input for the model")
            if raw_input == "text":
                texts = _lines() if argument == STDIN else text_sources(argument, columns, text_column, text_pair)
                if query is not None:
                    texts = (_paired(source, "text_pair", query, "text") for source in texts)
                elif text_pair is not None:
                    texts = (_paired(source, "text", text_pair, "text_pair") for source in texts)
                yield from texts
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


def _paired(source: InputSource, name: str, other: str, other_name: str) -> InputSource:
    """A text under a name with another text under its own, unless a table gave both."""
    if source.problem or isinstance(source.value, dict):
        return source
    text = source.value
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            return InputSource(source.name, problem="the line is not UTF-8 text")
    return InputSource(source.name, {name: text, other_name: other})


def _lines() -> Iterator[InputSource]:
    for line in sys.stdin.buffer:
        raw = line.rstrip(b"\r\n")
        if raw:  # sent as bytes: a line that is not UTF-8 fails alone
            yield InputSource(raw.decode(errors="backslashreplace"), raw)
