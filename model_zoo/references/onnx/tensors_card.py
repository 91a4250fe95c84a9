"""A card for an ONNX file whose inputs have no meaning that Zoo knows: a model of tensors, by the names and axes of the file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_zoo.cards.recipes import TensorsRecipe
from model_zoo.cards.signature import TensorSpec
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import TENSOR_SETTINGS, Given
from model_zoo.references.onnx.facts import OnnxFacts, OnnxTensor

__all__ = ["TASK", "InputPlan", "output_specs", "plan_inputs", "tensors_fields"]

TASK = "other"
"""The Hub's name for a task that is none of its list."""
MOST_ROWS, GAINFUL_ROWS = 32, 8
"""Rows of a batch, by default; on a CPU."""
MASK = "attention_mask"
"""The name by which exporters of sequence networks call the mask of padding."""
_NOT_STATED = "not stated in the file"


@dataclass(frozen=True)
class InputPlan:
    """The inputs of a network as callers send them.

    Attributes:
        specs: with the rows as the first axis.
        single_rows_because: why rows cannot share batches, by the file; empty where they may.
        max_batch_size: rows of a batch, where they share batches. Where the recipe has a mask, they may if padding is seen to
            change no answer.
    """

    specs: tuple[TensorSpec, ...]
    recipe: TensorsRecipe
    single_rows_because: str
    max_batch_size: int


def plan_inputs(shown: str, facts: OnnxFacts, given: Given, others: Sequence[str] = ()) -> InputPlan:
    """The inputs by the axes that the file states: the first one counts rows.

    Args:
        shown: the reference, for messages.
        others: settings that say something else.

    Raises:
        NotDerivable: an axis is stated in a way that no rows fit, or has no greatest size.
    """
    settings = _settings(shown, {key: text for key, text in given.settings.items() if key not in others})
    for tensor in facts.inputs:
        if not tensor.axes:
            what = "has no axis" if tensor.axes is not None else "has axes that the file does not state"
            raise NotDerivable(shown, f"the input {tensor.name!r} {what}; its first axis must count rows")
    varying = [(tensor.name, axis) for tensor in facts.inputs for axis in _rest(tensor) if isinstance(axis, str)]
    most = settings.get("max_length")
    if varying and most is None:
        name, axis = varying[0]
        raise NotDerivable(
            shown,
            f"the size of the axis {axis!r} of the input {name!r} varies, and the file does not say how far",
            "its greatest size by --set max_length=N",
        )
    recipe = TensorsRecipe(
        kind="tensors",
        axes={
            tensor.name: tuple(axis if isinstance(axis, str) else "" for axis in _rest(tensor))
            for tensor in facts.inputs
            if any(isinstance(axis, str) for axis in _rest(tensor))
        },
        max_length=most if varying else None,
        positions=facts.positions,
    )
    recipe = recipe.model_copy(update=_padding(facts))
    specs = tuple(
        TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=(-1, *_sizes(_rest(tensor))))
        for tensor in facts.inputs
    )
    because = _single_rows_because(shown, facts, () if recipe.mask else varying)
    if because:
        recipe = recipe.model_copy(update={"mask": "", "cut": ()})
    return InputPlan(specs, recipe, because, settings.get("max_batch_size", MOST_ROWS))


def _padding(facts: OnnxFacts) -> dict[str, Any]:
    """``mask`` and ``cut`` of the recipe, where the inputs are sequences of one length with a mask of it."""
    mask = next((tensor for tensor in facts.inputs if tensor.name == MASK), None)
    if mask is None or len(_rest(mask)) != 1 or not isinstance(length := _rest(mask)[0], str):
        return {}
    if any(isinstance(axis, str) and axis != length for tensor in facts.inputs for axis in _rest(tensor)):
        return {}
    if any(length in _rest(tensor)[1:] for tensor in (*facts.inputs, *facts.outputs)):
        return {}
    return {"mask": MASK, "cut": tuple(tensor.name for tensor in facts.outputs if length in _rest(tensor))}


def _single_rows_because(shown: str, facts: OnnxFacts, varying: Sequence[tuple[str, str]]) -> str:
    rows = {tensor.axes[0] for tensor in facts.inputs if tensor.axes}
    for tensor in facts.inputs:
        first = tensor.axes[0] if tensor.axes else 1
        if isinstance(first, int) and first != 1:
            reason = f"the first axis of the input {tensor.name!r} is fixed at {first}; it must count rows"
            raise NotDerivable(shown, f"{reason}: export it with an axis that varies")
    if tied := [(name, axis) for name, axis in varying if axis in rows]:
        name, axis = tied[0]
        raise NotDerivable(shown, f"the axis {axis!r} counts rows and is a further axis of the input {name!r}")
    if 1 in rows:
        name = next(tensor.name for tensor in facts.inputs if tensor.axes and tensor.axes[0] == 1)
        return f"the file fixes the first axis of {name!r} at 1"
    if varying:
        return f"the size of the axis {varying[0][1]!r} may differ from row to row"
    return ""


def output_specs(facts: OnnxFacts, seen: Sequence[Mapping[str, Sequence[int]]]) -> tuple[TensorSpec, ...]:
    """The outputs: sizes that the file states and that were seen; the others vary.

    ``seen``: the shapes of the outputs in several runs, with their rows.
    """
    specs = []
    for tensor in facts.outputs:
        shapes = [tuple(shapes[tensor.name])[1:] for shapes in seen]
        rank = len(shapes[0])
        stated: Sequence[int | str] = _rest(tensor)
        if len(stated) != rank:
            stated = [""] * rank
        sizes = [
            size if isinstance(size, int) and all(len(shape) == rank and shape[i] == size for shape in shapes) else -1
            for i, size in enumerate(stated)
        ]
        specs.append(TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=(-1, *sizes)))
    return tuple(specs)


def tensors_fields(shown: str, facts: OnnxFacts, plan: InputPlan, licence: str) -> dict[str, Any]:
    """The fields of the card that do not depend on a run of the network."""
    by = f", written by {facts.producer}" if facts.producer else ""
    return {
        "name": "model",
        "family": facts.family,
        "task": TASK,
        "summary": f"The network of {shown}, for tensors.",
        "default": False,
        "licence": {"package": licence, "weights": licence},
        "provenance": f"The file {shown} as it was pulled{by}. Training data: {_NOT_STATED}.",
        "paper": _NOT_STATED,
        "parameters": facts.parameters,
        "weights": {"format": "onnx", "mapping": "unchanged"},
        "raw_input": "",
        "canonical": "tensors",
        "recipe": plan.recipe.model_dump(),
        "tolerance": {"max_abs_error": 0.001},
    }


def _rest(tensor: OnnxTensor) -> tuple[int | str, ...]:
    return (tensor.axes or ())[1:]


def _sizes(axes: Sequence[int | str]) -> tuple[int, ...]:
    return tuple(axis if isinstance(axis, int) else -1 for axis in axes)


def _settings(shown: str, given: Mapping[str, str]) -> dict[str, int]:
    found = {}
    for key, text in given.items():
        if key not in TENSOR_SETTINGS:
            raise NotDerivable(
                shown, f"--set {key[:40]} has no meaning for it; expected {' or '.join(TENSOR_SETTINGS)}"
            )
        if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:12]) <= 1_000_000:
            raise NotDerivable(shown, f"--set {key} is {text[:40]!r}; expected a whole number from 1 to 1,000,000")
        found[key] = int(text)
    return found
