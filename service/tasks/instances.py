"""Helpers that input codecs share: reading instances one by one, decoding text, and the inputs of golden cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.golden.golden_case import GoldenInput, golden_path
from model_zoo.golden.tones import plucked
from service.errors import InvalidInput, ZooError
from service.types import AudioInstance, Instance, Item, SamplesInstance, TextInstance, TextPairInstance

KINDS = {
    "ImageInstance": "image",
    "LabelledImageInstance": "image",
    "FilteredImageInstance": "image",
    "TextInstance": "text",
    "TextPairInstance": "text_pair",
    "RankingInstance": "ranking",
    "AudioInstance": "audio",
    "VideoInstance": "video",
    "SamplesInstance": "samples",
    "VolumeInstance": "volume",
    "RowInstance": "row",
    "SeriesInstance": "series",
    "RecordInstance": "record",
}
"""The name of each kind of instance in error messages."""


def reject_kind(card: Card, instance: Instance, path: str) -> InvalidInput:
    """The error for an instance of a kind that the model does not accept."""
    got = KINDS.get(type(instance).__name__, "tensors")
    expected = f"{card.raw_input} or tensors" if card.raw_input else "tensors"
    return InvalidInput(path, f"expected {expected} for model {card.name!r}, got {got}")


def decode_text(card: Card, instance: Instance, path: str, *, empty: bool = False) -> str:
    """The text of an instance; `empty` allows a blank text. Raises InvalidInput."""
    if not isinstance(instance, TextInstance):
        raise reject_kind(card, instance, path)
    return decode_utf8(instance.data, path, empty=empty)


def decode_utf8(data: bytes, path: str, *, empty: bool = False) -> str:
    """The text of UTF-8 bytes; `empty` allows a blank text. Raises InvalidInput."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(path, f"expected UTF-8, got a byte that is not at position {error.start}") from None
    if not empty and not text.strip():
        raise InvalidInput(path, "is empty; expected a text")
    return text


def read_each(
    read: Callable[[Instance, str], Item], instances: Sequence[Instance], paths: Sequence[str]
) -> list[Item | ZooError]:
    """One outcome for each instance: what `read` returns, or the InvalidInput that it raises."""
    outcomes: list[Item | ZooError] = []
    for instance, path in zip(instances, paths, strict=True):
        try:
            outcomes.append(read(instance, path))
        except InvalidInput as error:
            outcomes.append(error)
    return outcomes


def golden_text(given: GoldenInput) -> Instance:
    """The text of a golden case."""
    assert given.text is not None
    if given.text_pair is not None:
        return TextPairInstance(given.text.encode(), given.text_pair.encode())
    return TextInstance(given.text.encode())


def golden_recording(given: GoldenInput, sample_rate: int) -> Instance:
    """The recording of a golden case, or its generated tones or noise at `sample_rate` hertz."""
    if given.file is not None:
        return AudioInstance(golden_path(given.file).read_bytes())
    if given.tones is not None:
        return SamplesInstance(plucked(given.tones, sample_rate), sample_rate)
    assert given.noise is not None
    count = int(given.noise.seconds * sample_rate)
    noise = np.random.default_rng(given.noise.seed).standard_normal(count) * given.noise.amplitude
    return SamplesInstance(noise.astype(np.float32), sample_rate)
