"""The answers of transformers' own pipelines, by task. Runs in the process of `library_answers.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.references.library_request import LibraryRequest

Answer = Callable[[Any, LibraryRequest, Any], Any]
"""The pipeline, the request, one raw input → an answer that JSON can hold."""


def answers(request: LibraryRequest, raw: list[Any]) -> list[Any]:
    """An answer to each raw input."""
    import torch
    import transformers

    pipeline: Any = transformers.pipeline  # one overload for each task
    pipe: Any = pipeline(request.task, model=request.folder, device="cpu", dtype=torch.float32, trust_remote_code=False)
    answer = ANSWERS[request.task]
    with torch.inference_mode():
        return [answer(pipe, request, one) for one in raw]


def _image_classes(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """Probabilities in the order of the classes."""
    import torch

    return list(torch.softmax(pipe.forward(pipe.preprocess(raw))["logits"][0], dim=-1).tolist())


def _objects(pipe: Any, request: LibraryRequest, raw: Any) -> list[list[float]]:
    """(class, score, xmin, ymin, xmax, ymax) of every box, as the pipeline has them before it rounds them."""
    outputs = pipe.forward(pipe.preprocess(raw))
    (found,) = pipe.image_processor.post_process_object_detection(outputs, 0.0, outputs["target_size"])
    parts = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
    return [[label, score, *box] for label, score, box in parts]


def _text_classes(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """Probabilities in the order of the classes."""
    import torch

    model_inputs = pipe.preprocess(raw, truncation=True, max_length=request.max_tokens)
    return list(torch.softmax(pipe.forward(model_inputs)["logits"][0], dim=-1).tolist())


def _sound_classes(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """Probabilities in the order of the classes."""
    import torch

    model_inputs = pipe.preprocess(at_rate(raw, pipe.feature_extractor.sampling_rate))
    return list(torch.softmax(pipe.forward(model_inputs)["logits"][0], dim=-1).tolist())


def at_rate(raw: Any, rate: int) -> Any:
    """Samples and their rate → samples at the rate of the pipeline, which can convert rates by torchaudio only."""
    import soxr

    samples, came = raw
    return samples if came == rate else soxr.resample(samples, came, rate)


ANSWERS: Mapping[str, Answer] = {
    "audio-classification": _sound_classes,
    "image-classification": _image_classes,
    "object-detection": _objects,
    "text-classification": _text_classes,
}
