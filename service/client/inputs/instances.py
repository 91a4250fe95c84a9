"""The kinds of input and their messages. Pure: the clients read files and ask the server which input a model takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from service.client.errors import BadInput, IllegalMove
from service.client.inputs.rows import Cell, is_series, parse_json, row_or_series, series
from service.client.message_fields import build, quoted
from service.client.models import ModelInfo
from service.client.tensors import tensor_map
from service.pb import prediction_pb2 as pb
from service.types import Array, SamplesInstance

TEXT_PAIR = frozenset({"text", "text_pair"})
"""Keys of two texts that are read together."""
_MEDIA = frozenset(
    ["bmp", "flac", "gif", "heic", "jpeg", "jpg", "m4a", "mp3", "ogg", "opus", "png", "tif", "tiff", "wav", "webp"]
) | {"avi", "m4v", "mkv", "mov", "mp4", "webm"}
"""Endings of names of files with photos, sounds and videos."""
_MEDIA_INPUTS = {"image": "a photo", "audio": "a sound", "video": "a video", "volume": "a volume"}
"""Raw inputs that are files of media, in words."""
_LONGEST_NAME = 1024
RANKING = frozenset({"query", "documents"})
"""Keys of a query with documents."""
Row = Mapping[str, Cell]
Record = Mapping[str, Path | bytes | Row]
Ranked = Mapping[str, str | Sequence[str]]
Input = Path | bytes | str | Array | Mapping[str, Array] | SamplesInstance | Row | Record | Ranked | Sequence[float]
"""One input of a model:

- a Path: the content of its file is the model's raw input; encoded bytes mean the same;
- a `str`: a text, never a path;
- an array: the model's only tensor, or a series `[steps]` or `[steps, channels]` for a model that takes one;
- arrays by name: one row of each tensor, without the rows axis;
- decoded sound;
- two texts that are read together: `{"text": "It rains.", "text_pair": "It is wet."}`;
- a query with documents: `{"query": "how high?", "documents": ["It is 42 m high.", "It is red."]}`;
- a row, cells by column: `{"area": 70, "town": "Bonn"}`;
- a record, several inputs that belong together: `{"image": Path("house.jpg"), "row": {"area": 70}}`;
- a list of numbers: a series, the oldest first."""


def as_list(inputs: Input | Sequence[Input]) -> list[Input]:
    """The inputs as a list. A list or tuple is many inputs, except one of numbers alone, which is one series."""
    many = isinstance(inputs, (list, tuple)) and not is_series(inputs)
    return list(inputs) if many else [inputs]  # type: ignore[arg-type, list-item]


def read_file(path: Path) -> bytes:
    """The content of a file. Blocks. Raises BadInput if it cannot be read."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: the name contains NUL
        why = (getattr(error, "strerror", None) or "that is no name of a file").lower()
        raise BadInput(f"cannot read {quoted(path)}: {why}", reason="UNREADABLE_FILE") from None


def may_name_media(text: str) -> bool:
    """Whether a text looks like the name of a file with a photo, a sound or a video."""
    return len(text) < _LONGEST_NAME and text.isprintable() and text.rpartition(".")[2].lower() in _MEDIA


def check_takes_text(text: str, model: ModelInfo) -> None:
    """Raises BadInput for a text that came in place of a photo, a sound, a video or a volume."""
    kind = _MEDIA_INPUTS.get(model.raw_input)
    if kind is not None:
        raise BadInput(f"model {model.name!r} takes {kind}, and a text came; {_give(text)}")


def _give(text: str) -> str:
    path = f"Path({quoted(text)})" if may_name_media(text) else "Path(NAME)"
    return f"for a file give {path}, or its bytes: {path}.read_bytes()"


def text_instance(text: str) -> pb.Instance:
    """A text."""
    try:
        return pb.Instance(text=text)
    except UnicodeEncodeError:
        raise BadInput("the text holds lone surrogates, so it is not valid Unicode") from None


def text_pair_instance(value: Mapping[Any, Any]) -> pb.Instance:
    """Two texts that are read together."""
    try:
        return pb.Instance(text_pair=pb.TextPair(text=value["text"], text_pair=value["text_pair"]))
    except UnicodeEncodeError:
        raise BadInput("a text of the pair holds lone surrogates, so it is not valid Unicode") from None


def ranking_instance(value: Mapping[Any, Any]) -> pb.Instance:
    """A query with documents."""
    try:
        return pb.Instance(ranking=pb.RankingQuery(query=value["query"], documents=value["documents"]))
    except UnicodeEncodeError:
        raise BadInput("the query or a document holds lone surrogates, so it is not valid Unicode") from None


def is_ranking(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is a query with documents, by the names `query` and `documents`."""
    documents = value.get("documents")
    return (
        value.keys() == RANKING
        and isinstance(value["query"], str)
        and isinstance(documents, list | tuple)
        and all(isinstance(document, str) for document in documents)
    )


def is_text_pair(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is two texts by the names `text` and `text_pair`. A row may be it, too."""
    return value.keys() == TEXT_PAIR and all(isinstance(text, str) for text in value.values())


def samples_instance(sound: SamplesInstance) -> pb.Instance:
    """Decoded sound."""
    values = np.asarray(sound.samples, np.float32)
    return pb.Instance(samples=pb.AudioSamples(sample_rate_hertz=sound.sample_rate, values=values))


def encoded_instance(data: bytes, model: ModelInfo) -> pb.Instance:
    """Encoded bytes as the raw input of `model`."""
    match model.raw_input:
        case "image":
            return pb.Instance(image=data)
        case "audio":
            return pb.Instance(audio=data)
        case "video":
            return pb.Instance(video=data)
        case "volume":
            return pb.Instance(volume=data)
        case "text":
            try:
                return pb.Instance(text=data.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise BadInput(f"the text is not valid UTF-8 at byte {error.start}") from None
        case "row" | "series":
            return row_or_series(parse_json(data), model.raw_input)
        case "record":
            raise BadInput(f"model {model.name!r} takes an image and a row together: {{'image': …, 'row': {{…}}}}")
        case _ if model.damaged:
            raise IllegalMove(f"model {model.name!r} does not answer: {model.damaged}", code="FAILED_PRECONDITION")
        case _:
            raise BadInput(f"model {model.name!r} takes tensors only, and a file or bytes came")


def array_instance(array: Array, model: ModelInfo) -> pb.Instance:
    """An array without a name: a series, or the only tensor of `model`."""
    if model.raw_input == "series":
        return series(array)
    if len(model.inputs) != 1:
        names = ", ".join(repr(tensor.name) for tensor in model.inputs)
        raise BadInput(f"model {model.name!r} takes the tensors {names}, so give arrays by name, not a bare array")
    return pb.Instance(tensors=tensor_map({model.inputs[0].name: array}))


def tensors_instance(tensors: Mapping[Any, Any]) -> pb.Instance:
    """Tensors by name."""
    return build(_tensors, tensors)


def record_instance(parts: Mapping[str, pb.Instance]) -> pb.Instance:
    """A record of instances by name."""
    return pb.Instance(record=build(pb.Record, parts=parts))


def holds_arrays(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping has arrays alone, and so is tensors by name for every model."""
    return bool(value) and all(isinstance(part, np.ndarray) and part.ndim for part in value.values())


def unknown_input(value: object) -> BadInput:
    """The error for a value that is no input."""
    return BadInput(
        f"an input is of type {type(value).__name__}; a Path, bytes, str, array, dict of arrays or cells, list of numbers or "
        "sound was expected"
    )


def unknown_part(name: str, value: object) -> BadInput:
    """The error for a part of a record that is no image or row."""
    kind = type(value).__name__
    hint = f"; {_give(value)}" if isinstance(value, str) else ""
    return BadInput(f"part {name!r} is of type {kind}; an image (Path or bytes) or a row (dict) was expected{hint}")


def _tensors(tensors: Mapping[Any, Any]) -> pb.Instance:
    return pb.Instance(tensors=tensor_map({str(name): np.asarray(value) for name, value in tensors.items()}))
