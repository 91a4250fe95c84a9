"""The answers of transformers' own pipelines, by task. Runs in the process of `library_answers.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.references.comparison.candidates import COMPARED
from service.references.comparison.pictures import decoded_pictures, sampled
from service.references.library_request import LibraryRequest

Answer = Callable[[Any, LibraryRequest, Any], Any]
"""The pipeline, the request, one raw input → an answer that JSON can hold."""


def answers(request: LibraryRequest, raw: list[Any]) -> list[Any]:
    """An answer to each raw input; then the pictures, if they are asked for."""
    import torch
    import transformers

    pipeline: Any = transformers.pipeline  # one overload for each task
    pipe: Any
    given: dict[str, Any] = {"model": request.folder, "dtype": torch.float32}
    if request.adapter is not None:
        given = {"model": adapted_network(request, AUTO_CLASSES[request.task]), "tokenizer": request.folder}
    if request.part:
        pipe = pipeline("zero-shot-image-classification", **given, device="cpu", trust_remote_code=False)
        with torch.inference_mode():
            return [*(_part_embedding(pipe, request, one) for one in raw), *_pictures(pipe, request)]
    pipe = pipeline(request.task, **given, device="cpu", trust_remote_code=False)
    if request.labels:
        pipe.model.config.id2label = dict(enumerate(request.labels))
    answer = ANSWERS[request.task]
    with torch.inference_mode():
        return [*(answer(pipe, request, one) for one in raw), *_pictures(pipe, request)]


def _pictures(pipe: Any, request: LibraryRequest) -> list[Any]:
    """The pictures as the pipeline's processor prepares them."""
    if not request.pictures:
        return []
    found = (pipe.image_processor(images=image, return_tensors="pt") for image in decoded_pictures())
    return [sampled(one["pixel_values"][0]) for one in found]


def adapted_network(request: LibraryRequest, auto_class: str) -> Any:
    """The network of a request with its adapter beside it, not merged, as peft runs it."""
    import peft
    import torch
    import transformers

    library: Any = transformers  # untyped upstream
    offline = {"local_files_only": True, "trust_remote_code": False}
    classes = {"num_labels": len(request.labels)} if request.labels else {}
    network = getattr(library, auto_class).from_pretrained(
        request.folder, dtype=torch.float32, use_safetensors=True, **classes, **offline
    )
    return peft.PeftModel.from_pretrained(network, str(request.adapter)).eval()


def _image_classes(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """Probabilities in the order of the classes."""
    return _probabilities(pipe, pipe.preprocess(raw))


def _objects(pipe: Any, request: LibraryRequest, raw: Any) -> list[list[float]]:
    """(class, score, xmin, ymin, xmax, ymax) of every box, as the pipeline has them before it rounds them."""
    outputs = pipe.forward(pipe.preprocess(raw))
    (found,) = pipe.image_processor.post_process_object_detection(outputs, 0.0, outputs["target_size"])
    parts = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
    return [[label, score, *box] for label, score, box in parts]


def _image_embedding(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """The pooled output, as the pipeline gives it with `pool=True`."""
    pooled = pipe.postprocess(pipe.forward(pipe.preprocess(raw)), pool=True, return_tensors=True)
    return list(pooled.flatten().tolist())


def _mask(pipe: Any, request: LibraryRequest, raw: Any) -> list[list[int]]:
    """The class of each pixel, line by line, as runs of (class, pixels)."""
    import torch

    outputs = pipe.forward(pipe.preprocess(raw))
    target = outputs["target_size"]
    (classes,) = pipe.image_processor.post_process_semantic_segmentation(outputs, target_sizes=target)
    values, counts = torch.unique_consecutive(classes.flatten(), return_counts=True)
    return [list(run) for run in zip(values.tolist(), counts.tolist(), strict=True)]


def _text_classes(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """Probabilities in the order of the classes."""
    return _probabilities(pipe, pipe.preprocess(raw, truncation=True, max_length=request.max_tokens))


def _spans(pipe: Any, request: LibraryRequest, raw: Any) -> dict[str, Any]:
    """Probabilities of all tokens, and the spans."""
    import torch

    pipe.tokenizer.model_max_length = request.max_tokens
    (model_inputs,) = pipe.preprocess(raw, is_split_into_words=False)
    logits = pipe.forward(model_inputs)["logits"][0]
    found = [{**one, "score": float(one["score"])} for one in pipe(raw, aggregation_strategy="simple")]
    return {"probabilities": torch.softmax(logits, dim=-1).tolist(), "entities": found}


def _masks(pipe: Any, request: LibraryRequest, raw: Any) -> list[list[dict[str, Any]]]:
    """The best candidates for each mask."""
    limits = {"truncation": True, "max_length": request.max_tokens}
    found = pipe(raw, top_k=min(COMPARED, pipe.model.config.vocab_size), tokenizer_kwargs=limits)
    return list(found) if isinstance(found[0], list) else [found]


def _probabilities(pipe: Any, model_inputs: Any) -> list[float]:
    """By the pipeline's own choice of a function, of every class; classes may share a name, so that positions count."""
    import torch

    outputs = pipe.forward(model_inputs)
    order = torch.argsort(outputs["logits"][0], descending=True, stable=True).tolist()
    answer = pipe.postprocess(dict(outputs), top_k=len(order))
    ranked = sorted((label["score"] for label in answer), reverse=True)
    found = dict(zip(order, ranked, strict=True))
    return [found[i] for i in range(len(found))]


def _hypothesis_classes(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """Probabilities of the network's own classes, for a text and the sentence about a label."""
    import torch

    pipe.tokenizer.model_max_length = request.max_tokens
    (model_inputs,) = pipe.preprocess(raw["text"], candidate_labels=[raw["text_pair"]], hypothesis_template="{}")
    return list(torch.softmax(pipe.forward(model_inputs)["logits"][0], dim=-1).tolist())


def _labelled_image(pipe: Any, request: LibraryRequest, raw: Any) -> dict[str, Any]:
    """Probabilities of the labels in their order, the logits and embeddings behind them, and the factor of the logits."""
    labels = raw["candidate_labels"]
    limits = {"truncation": True, "max_length": request.max_tokens}  # CLIP's pipeline fails for a longer text
    inputs = pipe.preprocess(raw["image"], candidate_labels=labels, tokenizer_kwargs=limits)
    outputs = pipe.model(**inputs["text_inputs"][0], pixel_values=inputs["pixel_values"])
    answer = pipe.postprocess({"candidate_labels": labels, "logits": outputs.logits_per_image})
    scores = {one["label"]: one["score"] for one in answer}
    return {
        "probabilities": [scores[label] for label in labels],
        "logits": outputs.logits_per_image[0].tolist(),
        "scale": float(pipe.model.logit_scale.exp()),
        "image_embeds": outputs.image_embeds[0].tolist(),
        "text_embeds": outputs.text_embeds.tolist(),
    }


def _part_embedding(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """The features of an image or of a text, prepared as the pipeline for both prepares them."""
    if request.part == "image":
        found = pipe.model.get_image_features(**pipe.image_processor(images=[raw], return_tensors="pt"))
    else:
        siglip = "siglip" in pipe.model.config.model_type
        padding = {"padding": "max_length" if siglip else True, "max_length": request.max_tokens, "truncation": True}
        found = pipe.model.get_text_features(**pipe.tokenizer([raw], return_tensors="pt", **padding))
    return list(getattr(found, "pooler_output", found)[0].tolist())


def _sound_classes(pipe: Any, request: LibraryRequest, raw: Any) -> list[float]:
    """Probabilities in the order of the classes."""
    import torch

    model_inputs = pipe.preprocess(at_rate(raw, pipe.feature_extractor.sampling_rate))
    logits = pipe.forward(model_inputs)["logits"][0]
    several = pipe.model.config.problem_type == "multi_label_classification"
    return list((torch.sigmoid(logits) if several else torch.softmax(logits, dim=-1)).tolist())


def _ctc_transcript(pipe: Any, request: LibraryRequest, raw: Any) -> dict[str, Any]:
    """The text, and the probability of the likeliest token of each frame."""
    import torch

    samples = at_rate(raw, pipe.feature_extractor.sampling_rate)
    (model_inputs,) = pipe.preprocess(samples)
    inputs = {name: model_inputs[name] for name in ("input_values", "attention_mask") if name in model_inputs}
    best = torch.softmax(pipe.model(**inputs).logits[0], dim=-1).max(dim=-1).values
    return {"text": pipe(samples)["text"], "probabilities": best.tolist()}


def at_rate(raw: Any, rate: int) -> Any:
    """Samples and their rate → samples at the rate of the pipeline, which can convert rates by torchaudio only."""
    import soxr

    samples, came = raw
    return samples if came == rate else soxr.resample(samples, came, rate)


AUTO_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "zero-shot-classification": "AutoModelForSequenceClassification",
}
"""Of tasks whose networks may have an adapter."""

ANSWERS: Mapping[str, Answer] = {
    "fill-mask": _masks,
    "audio-classification": _sound_classes,
    "automatic-speech-recognition": _ctc_transcript,
    "image-classification": _image_classes,
    "image-feature-extraction": _image_embedding,
    "image-segmentation": _mask,
    "object-detection": _objects,
    "text-classification": _text_classes,
    "token-classification": _spans,
    "zero-shot-classification": _hypothesis_classes,
    "zero-shot-image-classification": _labelled_image,
}
