"""One pulled network for each task, in a home: `python -m tests.support.references.every_task HOME`.

For tests in environments without Zoo. Beside the home's own files, `HOME/calls/NAME.npz` holds a call of each model: its raw
input (`raw:NAME`, one BYTES element) and the tensors that Zoo makes of it, one row.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model_zoo.golden.golden_case import golden_path
from service.types import AudioInstance, ImageInstance, Instance, Item, Options, TextInstance, TextPairInstance
from tests.support.references import tiny_generation, tiny_repositories, tiny_sounds, tiny_texts, tiny_vision
from tests.support.references.pulled import pulled_here

PHOTO, SPEECH = "cat.jpg", "speech.flac"
TEXT, MASKED, PAIR = "the film was a delight", "the [MASK] was a delight", ("the film was a delight", "a film")

NETWORKS: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "image_classification": (tiny_repositories.image_classifier, {"image": PHOTO}),
    "image_feature_extraction": (tiny_vision.vit_encoder, {"image": PHOTO}),
    "object_detection": (tiny_vision.detr, {"image": PHOTO}),
    "image_segmentation": (tiny_vision.segformer, {"image": PHOTO}),
    "text_classification": (tiny_repositories.text_classifier, {"text": TEXT}),
    "pair_classification": (tiny_texts.pair_classifier, dict(zip(("text", "text_pair"), PAIR, strict=True))),
    "multi_label_classification": (tiny_texts.multi_label_classifier, {"text": TEXT}),
    "token_classification": (tiny_texts.token_classifier, {"text": TEXT}),
    "feature_extraction": (tiny_repositories.sentence_encoder, {"text": TEXT}),
    "fill_mask": (tiny_texts.mask_filler, {"text": MASKED}),
    "text_ranking": (tiny_texts.reranker, dict(zip(("text", "text_pair"), PAIR, strict=True))),
    "zero_shot_classification": (tiny_texts.zero_shot_classifier, dict(zip(("text", "text_pair"), PAIR, strict=True))),
    "text_generation": (tiny_generation.gpt2, {"text": TEXT}),
    "text2text_generation": (tiny_generation.t5, {"text": TEXT}),
    "audio_classification": (tiny_sounds.wav2vec2, {"audio": SPEECH}),
    "automatic_speech_recognition": (tiny_sounds.ctc, {"audio": SPEECH}),
}
"""By the name of the model: what writes the repository, and the raw input of its call."""


def encoded(kind: str, value: str) -> bytes:
    """The bytes of a raw input: a shipped file, or a text."""
    return value.encode() if kind.startswith("text") else golden_path(value).read_bytes()


def instance_of(raw: dict[str, bytes]) -> Instance:
    """The raw input as an instance of zoo.v1."""
    if "image" in raw:
        return ImageInstance(raw["image"])
    if "audio" in raw:
        return AudioInstance(raw["audio"])
    return TextPairInstance(raw["text"], raw["text_pair"]) if "text_pair" in raw else TextInstance(raw["text"])


def main() -> None:
    """Pulls them all."""
    home = Path(sys.argv[1])
    calls = home / "calls"
    calls.mkdir(parents=True)
    (home / "repositories").mkdir()
    for name, (make, given) in NETWORKS.items():
        model = pulled_here(make, home / "repositories" / name, home)
        assert model.pulled.card.name == name
        raw = {kind: encoded(kind, value) for kind, value in given.items()}
        (item,) = model.task.preprocess([instance_of(raw)], ["instances[0]"])
        assert isinstance(item, Item), item
        tensors = model.task.with_options(item, Options()).tensors
        stored = {f"raw:{kind}": np.frombuffer(data, np.uint8) for kind, data in raw.items()}
        np.savez(calls / f"{name}.npz", **stored, **{key: np.asarray(array)[None] for key, array in tensors.items()})


if __name__ == "__main__":
    main()
