"""The parameters of a ModelInferRequest that are options of its model: those on which the output tensors depend.

Options that shape answers for people alone, such as `top_k`, mean nothing to tensors. They are ignored, as are parameters that
no model knows, since clients send some of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import PromptRecipe, WholeImageRecipe
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.tasks.base import Task
from service.tasks.image.filter_kernels import KERNEL_OPTIONS, kernel_of
from service.types import Options

Parameters = Mapping[str, pb.InferParameter]

FIELD = "parameters[{}]"
_OPTIONS = "options."
"""Begins the fields of errors of `Task.check`."""


def kernel_names(card: Card) -> tuple[str, ...]:
    """The kernels of a model by name; empty for a model that takes none."""
    return tuple(card.recipe.kernels) if isinstance(card.recipe, WholeImageRecipe) else ()


def options_of(request: pb.ModelInferRequest, card: Card) -> Options:
    """The options of a request of raw input: `kernel`, `kernel_scale` and `kernel_offset` for a model that takes kernels,
    `max_new_tokens` and `temperature` for one that writes texts by tokens. Raises InvalidInput for a parameter of another type,
    and for a kernel that there is not; `check_options` checks the other values."""
    parameters = request.parameters
    if isinstance(card.recipe, PromptRecipe):
        return Options(
            max_new_tokens=_whole_number(parameters, "max_new_tokens"), temperature=_number(parameters, "temperature")
        )
    if not kernel_names(card) or not any(name in parameters for name in KERNEL_OPTIONS):
        return Options()
    assert isinstance(card.recipe, WholeImageRecipe)
    options = Options(
        kernel=_text(parameters, "kernel"),
        kernel_scale=_number(parameters, "kernel_scale"),
        kernel_offset=_number(parameters, "kernel_offset"),
    )
    kernel_of(card.recipe.kernels, options, FIELD)
    return options


def check_options(task: Task, options: Options) -> None:
    """As `Task.check`, with the parameter as the field of the error."""
    try:
        task.check(options)
    except InvalidInput as error:
        raise InvalidInput(FIELD.format(error.field.removeprefix(_OPTIONS)), error.problem) from None


def _text(parameters: Parameters, name: str) -> str | None:
    value = _value(parameters, name, ("string_param",))
    return None if value is None else str(value)


def _number(parameters: Parameters, name: str) -> float | None:
    value = _value(parameters, name, ("double_param", "int64_param", "uint64_param"))
    return None if value is None else float(value)


def _whole_number(parameters: Parameters, name: str) -> int | None:
    value = _value(parameters, name, ("int64_param", "uint64_param"))
    return None if value is None else int(value)


def _value(parameters: Parameters, name: str, kinds: Sequence[str]) -> str | float | None:
    """A parameter of one of these kinds, the first of which is the usual one; None where the request has none."""
    if name not in parameters:
        return None
    kind = parameters[name].WhichOneof("parameter_choice")
    if kind is None or kind not in kinds:
        raise InvalidInput(FIELD.format(name), f"expected {kinds[0]}, got {kind or 'nothing'}")
    value: str | float = getattr(parameters[name], kind)
    return value
