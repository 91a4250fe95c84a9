"""Raw inputs of ModelInferRequests: BYTES tensors whose elements are images, texts, sounds, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import LabelledImageRecipe, TextRecipe
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.types import (
    Array,
    AudioInstance,
    ImageInstance,
    Instance,
    LabelledImageInstance,
    TextInstance,
    TextPairInstance,
    VideoInstance,
    VolumeInstance,
)
from service.wire.structured import JSON_INPUTS, parse_elements

InputTensor = pb.ModelInferRequest.InferInputTensor

RAW_INSTANCE: Mapping[str, Callable[[bytes], Instance]] = {
    "image": ImageInstance,
    "text": TextInstance,
    "audio": AudioInstance,
    "video": VideoInstance,
    "volume": VolumeInstance,
}

MOST_AXES_SHOWN = 16
MOST_TEXTS = 10_000
"""Texts beside the images of one request. Every text becomes an object."""

TEXT_PAIR = "text_pair"
"""The raw input of the second texts, beside that of the first, for models that read two texts together."""


def needs_pairs(card: Card) -> bool:
    """Whether a model reads nothing but two texts together."""
    if isinstance(card.recipe, TextRecipe) and card.recipe.pairs_only:
        return True
    return card.task in ("text-ranking", "zero-shot-classification")


def takes_pairs(card: Card) -> bool:
    """Whether a model reads two texts together."""
    return isinstance(card.recipe, TextRecipe) and card.recipe.pairs


LABEL_TEXTS = "text"
"""The raw input of texts beside an image, BYTES `[n, texts]`, for models that compare the two."""


def takes_label_texts(card: Card) -> bool:
    """Whether a model compares an image with texts."""
    return isinstance(card.recipe, LabelledImageRecipe)


def second_input(card: Card) -> str:
    """The raw input that comes beside the first one, or may come; empty for a model without one."""
    return TEXT_PAIR if takes_pairs(card) else LABEL_TEXTS if takes_label_texts(card) else ""


def is_raw(inputs: Sequence[InputTensor], card: Card) -> bool:
    """Whether a request brings the model's raw input, or the two that belong together."""
    names = [tensor.name for tensor in inputs]
    second = second_input(card)
    alone = second == "" or (len(names) == 1 and not takes_label_texts(card))
    wanted = [card.raw_input] if alone else sorted([card.raw_input, second])
    return card.raw_input != "" and sorted(names) == wanted and all(tensor.datatype == "BYTES" for tensor in inputs)


def check_raw_inputs(inputs: Sequence[InputTensor], card: Card) -> None:
    """Raises InvalidInput for a shape that raw inputs do not have."""
    for i, tensor in enumerate(inputs):
        shape = tensor.shape
        if takes_label_texts(card) and tensor.name == LABEL_TEXTS:
            most = card.batching.max_length
            if len(shape) != 2 or shape[0] < 0 or not 1 <= shape[1] <= (most or 1):
                raise InvalidInput(
                    f"inputs[{i}].shape",
                    f"{tensor.name!r} takes [n, texts] with 1 to {most} texts, got {shown_shape(shape)}",
                )
            if shape[0] * shape[1] > MOST_TEXTS:
                raise InvalidInput(
                    f"inputs[{i}].shape",
                    f"expected at most {MOST_TEXTS:,} texts in one request, got {shape[0] * shape[1]:,}",
                )
        elif len(shape) not in (1, 2) or shape[0] < 0 or (len(shape) == 2 and shape[1] != 1):
            raise InvalidInput(f"inputs[{i}].shape", f"{tensor.name!r} takes [n] or [n, 1], got {shown_shape(shape)}")
        if shape[0] != inputs[0].shape[0]:
            rows = inputs[0].shape[0]
            raise InvalidInput(f"inputs[{i}].shape", f"expected {rows} rows as in inputs[0], got {shape[0]}")


def raw_instances(inputs: Sequence[InputTensor], arrays: Sequence[Array], card: Card) -> list[Instance]:
    """An instance for each row of raw inputs that were checked. Raises InvalidInput for JSON that cannot be read."""
    named = {tensor.name: array for tensor, array in zip(inputs, arrays, strict=True)}
    elements: list[bytes] = named[card.raw_input].ravel().tolist()
    if takes_label_texts(card):
        lists = named[LABEL_TEXTS].reshape(len(elements), -1).tolist()
        return [LabelledImageInstance(image, tuple(texts)) for image, texts in zip(elements, lists, strict=True)]
    if TEXT_PAIR in named:
        second = named[TEXT_PAIR].ravel().tolist()
        return [TextPairInstance(*pair) for pair in zip(elements, second, strict=True)]
    if card.raw_input in JSON_INPUTS:
        return parse_elements(card.raw_input, elements, "inputs[0]")
    instance = RAW_INSTANCE[card.raw_input]
    return [instance(element) for element in elements]


def shown_shape(shape: Sequence[int]) -> str:
    """A caller's shape for an error text. One message can hold millions of axes, too many to print."""
    return str(list(shape)) if len(shape) <= MOST_AXES_SHOWN else f"{len(shape)} axes"
