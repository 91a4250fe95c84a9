"""Pictures as a network gets them: what Zoo makes of a picture beside what the makers' library makes of it.

Answers alone do not tell: a network that finds nothing in the shipped photos gives them one answer, however they are resized.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_zoo.errors import NotEqual
from model_zoo.golden.golden_case import GoldenInput, golden_path
from service.rounding import format_against
from service.tasks.base import Task
from service.types import ImageInstance, Item, LabelledImageInstance

BOUND = 2.0
"""Grey levels (of 255) by which the pixels of a picture may differ on average. Both resize by their own code, and Zoo decodes a
large JPEG at a smaller scale: up to 1.0 was measured for tiny networks of each kind, of 32 to 160 pixels. Another filter makes at
least 2.5 for one of the pictures at 32 to 384 pixels, and a crop that is shifted by a pixel 17."""
MOST_POSITIONS = 48
"""Of each side, at which pixels are compared."""
_PHOTOS = ("cat.jpg", "coffee.jpg")


@cache
def pictures() -> Mapping[str, bytes]:
    """The compared pictures by their names, encoded: shipped photos, which are wide, and two that are made here by a seed: a high
    one, and one of small squares, which other filters smooth in other ways."""
    generator = np.random.default_rng(18)
    high = generator.integers(0, 256, (8, 3, 3), dtype=np.uint8)
    squares = generator.integers(0, 256, (105, 152, 3), dtype=np.uint8)
    return {
        **{name: golden_path(name).read_bytes() for name in _PHOTOS},
        "a high picture": _png(Image.fromarray(high).resize((160, 400), Image.Resampling.BICUBIC)),
        "a texture": _png(Image.fromarray(squares).resize((608, 420), Image.Resampling.NEAREST)),
    }


def decoded_pictures() -> list[Any]:
    """The pictures as the makers' library reads them."""
    return [Image.open(io.BytesIO(data)).convert("RGB") for data in pictures().values()]


def sampled(pixels: Any) -> dict[str, Any]:
    """``[3, height, width]`` → its shape, and pixels that are spread evenly over it; JSON can hold them."""
    found = np.asarray(pixels, np.float32)
    rows, columns = (_spread(side) for side in found.shape[1:])
    return {
        "shape": list(found.shape),
        "values": np.round(found[:, rows][:, :, columns].astype(float), 4).ravel().tolist(),
    }


def check_pictures(task: Task, like: GoldenInput, shown: str, theirs: Sequence[Any]) -> None:
    """Compares the pictures as Zoo and the library prepare them.

    Args:
        like: an input of the task; the pictures take the place of its photo.
        shown: the reference, for messages.
        theirs: of each picture what `sampled` gives.

    Raises NotEqual with the figures.
    """
    recipe: Any = task.card.recipe
    std = np.asarray(getattr(recipe, "image", recipe).std)[:, None]
    for (name, data), their in zip(pictures().items(), theirs, strict=True):
        mine = sampled(_prepared(task, like, name, data, shown))
        if mine["shape"] != their["shape"]:
            raise NotEqual(
                shown, f"its library prepares {name} as {their['shape']} numbers, and Zoo as {mine['shape']}"
            )
        mean = float((np.abs(_values(mine) - _values(their)) * std).mean()) * 255
        if not mean <= BOUND:
            got, most = format_against(mean, BOUND)
            raise NotEqual(
                shown,
                f"the pixels of {name}, as Zoo resizes, crops and normalises them, by {got} grey levels on average; "
                f"allowed is {most}",
            )


def _prepared(task: Task, like: GoldenInput, name: str, data: bytes, shown: str) -> Any:
    instance = task.golden_instance(like)
    if isinstance(instance, LabelledImageInstance):
        instance = replace(instance, image=data)
    else:
        assert isinstance(instance, ImageInstance)
        instance = replace(instance, data=data)
    (item,) = task.preprocess([instance], ["input"])
    if not isinstance(item, Item):
        raise NotEqual(shown, f"Zoo refuses {name}: {item}")
    return item.tensors[task.card.signature.inputs[0].name]


def _values(one: dict[str, Any]) -> NDArray[np.float64]:
    return np.asarray(one["values"], np.float64).reshape(3, -1)


def _spread(side: int) -> NDArray[np.int64]:
    return np.linspace(0, side - 1, min(side, MOST_POSITIONS)).round().astype(np.int64)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
