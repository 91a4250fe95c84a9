"""Arguments of `zoo predict` for a model of tensors only.

An argument is JSON itself, a `.json` or `.jsonl` file, or an `.npz` file; `-` reads JSON Lines from stdin. A JSON object has one
row of each input by its name, without the rows axis: `'{"x": [0.1, 0.2]}'`; for a network with one input an array alone will do.
The arrays of an `.npz` file have the rows as their first axis, as tensors of the Open Inference Protocol have.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from service.cli.inputs.files import decode_utf8, read_bytes
from service.cli.inputs.input_source import STDIN, InputSource, UnreadableInput
from service.cli.inputs.paths import path_type, refuse_url
from service.types import DTYPES

if TYPE_CHECKING:
    from service.client import ModelInfo

_JSON_LINES = (".jsonl", ".ndjson")


def tensor_sources(argument: str, model: ModelInfo) -> Iterator[InputSource]:
    """The inputs in one argument. Raises UnreadableInput for one that holds none."""
    if argument.lstrip()[:1] in ("{", "["):
        yield _source(argument, _parsed(argument), model)
    elif argument == STDIN:
        yield from _lines(STDIN, map(decode_utf8, sys.stdin.buffer), model)
    else:
        yield from _file_sources(Path(argument), argument, model)


def _file_sources(path: Path, argument: str, model: ModelInfo) -> Iterator[InputSource]:
    if not path_type(argument):
        refuse_url(argument)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        yield from _npz_sources(path, model)
        return
    if suffix not in (".json", *_JSON_LINES):
        raise UnreadableInput("the model takes tensors: expected JSON or a file of .json, .jsonl or .npz")
    text = decode_utf8(read_bytes(path))
    if suffix == ".json":
        document = _parsed(text)
        many = isinstance(document, list) and all(isinstance(part, dict) for part in document)
        for i, part in enumerate(document if many else [document]):
            yield _source(f"{path}:{i + 1}" if many else str(path), part, model)
    else:
        yield from _lines(str(path), text.splitlines(), model)


def _npz_sources(path: Path, model: ModelInfo) -> Iterator[InputSource]:
    content = io.BytesIO(read_bytes(path))
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception:  # readers of archives raise errors of many kinds
        raise UnreadableInput("is no .npz file of arrays") from None
    counts = {array.shape[:1] for array in arrays.values()}
    if len(counts) != 1 or counts == {()} or counts == {(0,)}:
        raise UnreadableInput("expected arrays with equally many rows as their first axis")
    [(rows,)] = counts
    for i in range(rows):
        yield _source(f"{path}:{i + 1}", {name: array[i] for name, array in arrays.items()}, model)


def _lines(name: str, lines: Iterable[str], model: ModelInfo) -> Iterator[InputSource]:
    for i, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _source(f"{name}:{i}", _parsed(line), model)
            except UnreadableInput as error:
                yield InputSource(f"{name}:{i}", problem=str(error))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableInput("is not valid JSON") from None


def _source(name: str, document: Any, model: ModelInfo) -> InputSource:
    """The arrays of one row, with the datatypes that the model states."""
    datatypes = {tensor.name: tensor.datatype for tensor in model.inputs}
    if not isinstance(document, dict):
        if len(datatypes) != 1:
            return InputSource(name, problem=f"expected an object with the inputs {', '.join(datatypes)}")
        document = {next(iter(datatypes)): document}
    arrays = {}
    for key, value in document.items():
        try:
            array = np.asarray(value)
            whole = DTYPES.get(datatypes.get(key, ""), array.dtype)
            if array.dtype.kind not in "biuf" or (array.dtype.kind == "f" and array.size and whole.kind in "biu"):
                raise TypeError
            arrays[key] = np.asarray(value, whole)
        except (ValueError, TypeError, OverflowError):
            wanted = datatypes.get(key, "")
            return InputSource(name, problem=f"{key[:80]}: expected numbers of equal rows{wanted and f', {wanted}'}")
    return InputSource(name, arrays)
