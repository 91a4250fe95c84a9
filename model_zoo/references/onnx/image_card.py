"""An ONNX file as a classifier of images: how an image becomes its input is stated by the user, since no file says it."""

import math
from dataclasses import dataclass
from typing import Any

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import LONGEST_SIDE, ImageRecipe
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import IMAGE_SETTINGS, Given, check_class_names
from model_zoo.references.onnx.facts import OnnxFacts

__all__ = ["TASK", "ImagePlan", "as_image_classifier", "plan_image"]

TASK = "image-classification"
_EXAMPLE = (
    "--set size=224 --set resize_shorter=256 --set interpolation=bilinear --set mean=0.5,0.5,0.5 --set std=0.5,0.5,0.5"
)


@dataclass(frozen=True)
class ImagePlan:
    """A classifier of images.

    Attributes:
        facts: those of the file, with the size of the image in place of axes that vary.
        labels: names of the classes, in the order of the output.
    """

    facts: OnnxFacts
    recipe: ImageRecipe
    labels: tuple[str, ...]


def plan_image(shown: str, facts: OnnxFacts, given: Given) -> ImagePlan:
    """The plan of a classifier.

    Args:
        shown: the reference, for messages.

    Raises:
        NotDerivable: the file has no input for one image or no output for its classes, or the user has not stated all.
    """
    recipe = _recipe(shown, given)
    height, width = recipe.size
    tensor = facts.inputs[0]
    axes = tensor.axes or ()
    image = len(facts.inputs) == 1 and tensor.datatype == "FP32" and len(axes) == 4 and axes[1] == 3
    if not image:
        listed = ", ".join(f"{one.name} {one.datatype} {_listed(one.axes)}" for one in facts.inputs[:3])
        raise NotDerivable(shown, f"a classifier of images takes FP32 [rows, 3, height, width]; it takes {listed}")
    for stated, size in zip(axes[2:], (height, width), strict=True):
        if isinstance(stated, int) and stated != size:
            raise NotDerivable(shown, f"its input has the axes {_listed(axes)}, which do not fit --set size={height}")
    output = facts.outputs[0]
    if len(facts.outputs) != 1 or output.datatype != "FP32" or (output.axes is not None and len(output.axes) != 2):
        raise NotDerivable(shown, "a classifier of images gives FP32 [rows, classes] alone")
    if output.name in facts.ends_in_probabilities:
        raise NotDerivable(
            shown, f"its output {output.name!r} ends in probabilities; export it without its last softmax"
        )
    if not given.labels:
        raise NotDerivable(shown, "it does not name its classes", "--labels FILE, a name a line")
    check_class_names(given.labels, shown)
    sized = tensor.model_copy(update={"axes": (axes[0], 3, height, width)})
    return ImagePlan(facts.model_copy(update={"inputs": (sized,)}), recipe, given.labels)


def as_image_classifier(card: Card, plan: ImagePlan) -> Card:
    """The card of a model of tensors as one of a classifier, without golden cases. Raises ValueError where they do not fit."""
    document: dict[str, Any] = {
        **card.model_dump(),
        "task": TASK,
        "summary": card.summary.replace(", for tensors.", ", for images."),
        "raw_input": "image",
        "canonical": "raw",
        "recipe": plan.recipe.model_dump(),
        "golden": (),
    }
    return Card.model_validate(document)


def _recipe(shown: str, given: Given) -> ImageRecipe:
    missing = [name for name in IMAGE_SETTINGS if name not in given.settings]
    if missing:
        what = f"how an image becomes its input is not stated ({', '.join(missing)})"
        raise NotDerivable(shown, what, f"all of it, such as {_EXAMPLE}")
    size, shorter = (_pixels(shown, name, given.settings[name]) for name in ("size", "resize_shorter"))
    interpolation = given.settings["interpolation"]
    if interpolation not in ("bilinear", "bicubic"):
        raise NotDerivable(shown, f"--set interpolation is {interpolation[:40]!r}; expected bilinear or bicubic")
    if shorter < size:
        raise NotDerivable(shown, f"--set resize_shorter is {shorter}, less than the size {size} that is cut out of it")
    mean, std = (_triple(shown, name, given.settings[name]) for name in ("mean", "std"))
    if min(std) <= 0:
        raise NotDerivable(shown, "--set std must be positive")
    return ImageRecipe.model_validate(
        {
            "kind": "image",
            "size": (size, size),
            "resize_shorter": shorter,
            "interpolation": interpolation,
            "mean": mean,
            "std": std,
        }
    )


def _pixels(shown: str, name: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:12]) <= LONGEST_SIDE:
        raise NotDerivable(shown, f"--set {name} is {text[:40]!r}; expected pixels, 1 to {LONGEST_SIDE:,}")
    return int(text)


def _triple(shown: str, name: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != 3 or not all(math.isfinite(part) for part in found):
        raise NotDerivable(shown, f"--set {name} is {text[:40]!r}; expected three numbers with commas between them")
    return found


def _listed(axes: tuple[int | str, ...] | None) -> str:
    return "of unknown axes" if axes is None else f"[{', '.join(str(axis) for axis in axes)}]"
