"""A client that answers about photos by their bytes, without a server: `cat|1,0` has the label `cat` and the embedding (1, 0)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from service.client import (
    Classification,
    Embedding,
    Label,
    ModelInfo,
    NotFound,
    Outcome,
    PredictionError,
    Timing,
    Violation,
)

LABELS = ("tabby cat", "dog", "hot dog", "mug")
CLASSIFIER, EMBEDDER, CLIP = "efficientnet_lite0", "mobilenetv2_100", "clip"
TIMING = Timing()
TEXTS = {"a red house": (0.0, 1.0)}


def photo(label: str, vector: tuple[float, float] = (1.0, 0.0), note: str = "") -> bytes:
    """The bytes of a photo with this best label and this embedding; `note` makes other bytes of it."""
    return f"{label}|{vector[0]},{vector[1]}|{note}".encode()


def info(name: str, task: str, **fields: Any) -> ModelInfo:
    empty: dict[str, Any] = {
        "family": "cnn",
        "summary": "",
        "state": "READY",
        "state_reason": "",
        "versions": (1,),
        "aliases": {},
        "raw_input": "image",
        "inputs": (),
        "outputs": (),
        "licence": "",
        "provenance": "",
        "paper": "",
        "weights_sha256": "aa",
        "parameter_count": 1,
        "max_batch_size": 8,
        "labels": (),
        "device": "cpu",
        "precision": "fp32",
        "memory_bytes": 0,
        "load_s": 0.0,
    }
    return ModelInfo(name=name, task=task, **(empty | fields))


class FakeClient:
    """Serves a classifier, and others that a test adds. Its streams answer one photo after the other."""

    def __init__(self) -> None:
        self.models = {CLASSIFIER: info(CLASSIFIER, "image-classification", labels=LABELS)}
        self.sent: list[tuple[str, bytes]] = []
        """Photos in the order of their calls, with the model."""
        self.before_answer: Callable[[bytes], None] = lambda data: None

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def model(self, name: str) -> ModelInfo:
        if name not in self.models:
            raise NotFound(f"unknown model {name!r}", code="NOT_FOUND")
        return self.models[name]

    def predict(self, model: str, inputs: list[bytes], **options: Any) -> list[Outcome]:
        return [self._outcome(model, data, options) for data in inputs]

    def stream_predict(self, model: str, inputs: Iterable[bytes], **options: Any) -> Iterator[Outcome]:
        for data in inputs:
            yield self._outcome(model, data, options)

    def _outcome(self, model: str, data: bytes, options: dict[str, Any]) -> Outcome:
        self.sent.append((model, data))
        self.before_answer(data)
        if data.startswith(b"bad"):
            return PredictionError(
                "instances[0].image: is no image",
                code="INVALID_ARGUMENT",
                reason="INVALID_INPUT",
                violations=[Violation("instances[0].image", "is no image")],
            )
        if data.startswith(b"busy"):
            return PredictionError("the queue is full", code="RESOURCE_EXHAUSTED", reason="QUEUE_FULL")
        common: dict[str, Any] = {"model": model, "version": self.models[model].versions[-1], "timing": TIMING}
        task = self.models[model].task
        if task == "zero-shot-image-classification":
            [text] = options["candidate_labels"]
            outputs = {"text_embeds": _vector(TEXTS.get(text, (1.0, 1.0)))[None]}
            if not data.startswith(b"\x89PNG"):
                outputs["image_embeds"] = _vector(_numbers(data))
            return Classification(**common, labels=(Label(0, text, 1.0),), outputs=outputs)
        if task == "image-feature-extraction":
            return Embedding(**common, values=_vector(_numbers(data)))
        best = self.models[model].labels.index(data.decode().partition("|")[0])
        others = [i for i in range(len(self.models[model].labels)) if i != best]
        scores = [(best, 0.8), *((i, 0.02) for i in others)][: options["top_k"]]
        return Classification(**common, labels=tuple(Label(i, "", score) for i, score in scores))


def _numbers(data: bytes) -> tuple[float, ...]:
    return tuple(map(float, data.decode().split("|")[1].split(",")))


def _vector(numbers: tuple[float, ...]) -> Any:
    return np.array(numbers, np.float32)
