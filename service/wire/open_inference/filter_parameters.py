"""The parameters of a ModelInferRequest that choose a kernel, for models that filter images."""

from __future__ import annotations

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import WholeImageRecipe
from service.errors import InvalidInput
from service.pb import open_inference_pb2 as pb
from service.tasks.image.filter_kernels import KERNEL_OPTIONS, kernel_of
from service.types import Options

FIELD = "parameters[{}]"
_NUMBERS = ("double_param", "int64_param", "uint64_param")


def kernel_names(card: Card) -> tuple[str, ...]:
    """The kernels of a model by name; empty for a model that takes none."""
    return tuple(card.recipe.kernels) if isinstance(card.recipe, WholeImageRecipe) else ()


def filter_options(request: pb.ModelInferRequest, card: Card) -> Options:
    """`kernel`, `kernel_scale` and `kernel_offset` of a request; none for a model that takes no kernel, as other parameters that
    it does not know. Raises InvalidInput for a parameter of another type, and for a kernel that there is not."""
    parameters = request.parameters
    if not kernel_names(card) or not any(name in parameters for name in KERNEL_OPTIONS):
        return Options()
    assert isinstance(card.recipe, WholeImageRecipe)
    options = Options(
        kernel=_text(parameters["kernel"]) if "kernel" in parameters else None,
        kernel_scale=_number(parameters["kernel_scale"], "kernel_scale") if "kernel_scale" in parameters else None,
        kernel_offset=_number(parameters["kernel_offset"], "kernel_offset") if "kernel_offset" in parameters else None,
    )
    kernel_of(card.recipe.kernels, options, FIELD)
    return options


def _text(value: pb.InferParameter) -> str:
    kind = value.WhichOneof("parameter_choice")
    if kind != "string_param":
        raise InvalidInput(FIELD.format("kernel"), f"expected string_param, got {kind or 'nothing'}")
    return value.string_param


def _number(value: pb.InferParameter, name: str) -> float:
    kind = value.WhichOneof("parameter_choice")
    if kind not in _NUMBERS:
        raise InvalidInput(FIELD.format(name), f"expected double_param, got {kind or 'nothing'}")
    return float(getattr(value, kind))
