"""Photos → normalised pixels, by the ImageRecipe of the card."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import ImageRecipe
from model_zoo.golden.golden_case import GoldenInput, golden_path
from service.datasets.readers.media.images import (
    DamagedImage,
    ImageTooLarge,
    LoadedImage,
    UnsupportedImage,
    load_image,
    to_rgb,
    upright_transpose,
)
from service.errors import InvalidInput, ZooError
from service.tasks.base import NO_FILES
from service.tasks.image.pixels import normalisation
from service.tasks.instances import reject_kind
from service.tasks.occlusion import Occlusions, hidden, mean_by_cell, windows
from service.types import HeatMap, ImageInstance, Instance, Item, TensorInstance

OVERSAMPLING = 2
"""A JPEG much larger than the network's input is decoded at a smaller scale that keeps this many times the pixels of each side.
The resized result differs by less than one grey level, on average, from the result of the full image."""

SIDEWAYS, FROM_RIGHT, FROM_BELOW = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)
"""EXIF orientations that swap width and height, that put the last stored column left, or the last stored row at the top."""


class ImageReader:
    """Encoded images → `[3, height, width]` float32, by a recipe."""

    def __init__(self, recipe: ImageRecipe) -> None:
        self.recipe = recipe
        scale, shift = normalisation(recipe)
        self._scale, self._shift = scale[:, None, None], shift[:, None, None]

    def decode(self, data: bytes, path: str) -> UprightImage:
        """The upright RGB image, perhaps at a smaller scale. Raises InvalidInput."""
        return decode_image(data, self.recipe.max_pixels, path, OVERSAMPLING * self.recipe.resize_shorter)

    def pixels(self, data: bytes, path: str) -> NDArray[np.float32]:
        """The decoded, resized, cropped and normalised image. Raises InvalidInput."""
        return self.pixels_of(self.decode(data, path))

    def pixels_of(self, decoded: UprightImage) -> NDArray[np.float32]:
        """A decoded image, resized, cropped and normalised."""
        return self.normalise(resize_and_crop(decoded, self.recipe))

    def normalise(self, image: Image.Image) -> NDArray[np.float32]:
        """An RGB image of the recipe's size → `[3, height, width]` float32."""
        pixels = np.asarray(image).transpose(2, 0, 1)
        normalised: NDArray[np.float32] = pixels * self._scale
        normalised += self._shift
        return normalised


class ImageInput:
    """Accepts photos (the protocol `InputCodec`)."""

    raw_types: ClassVar[tuple[type, ...]] = (ImageInstance,)
    chunk: ClassVar[int] = 1

    def __init__(self, card: Card, files: Mapping[str, Path] = NO_FILES) -> None:
        if not isinstance(card.recipe, ImageRecipe):
            raise TypeError(f"card {card.name} has no image recipe")
        self.reader = ImageReader(card.recipe)
        self._card = card
        self._input = card.signature.inputs[0].name

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Encoded images → `[3, height, width]` float32, normalised."""
        return [self._read(instance, path) for instance, path in zip(instances, paths, strict=True)]

    def _read(self, instance: Instance, path: str) -> Item | ZooError:
        if not isinstance(instance, ImageInstance):
            return reject_kind(self._card, instance, path)
        try:
            decoded = self.reader.decode(instance.data, path)
            return Item({self._input: self.reader.pixels_of(decoded)}, image_size=decoded.size)
        except InvalidInput as error:
            return error

    def occlusions(self, instance: Instance, path: str) -> Occlusions:
        """The image with each window of cells hidden (the protocol `Occludable`). Raises InvalidInput for what is no image."""
        if not isinstance(instance, ImageInstance):
            raise InvalidInput("options.attribute", "expected images: attributions of tensors do not exist")
        decoded = self.reader.decode(instance.data, path)
        pixels, covers = self.reader.pixels_of(decoded), windows()
        area = seen_area(decoded.size, self.reader.recipe)
        return Occlusions(
            len(covers),
            lambda i: TensorInstance({self._input: hidden(pixels, covers[i])}),
            lambda lost: HeatMap(mean_by_cell(lost), *area),
        )

    def golden_instance(self, given: GoldenInput) -> Instance:
        """The photo of a golden case."""
        assert given.file is not None
        return ImageInstance(golden_path(given.file).read_bytes())


@dataclass(frozen=True, slots=True)
class UprightImage:
    """An upright 8-bit RGB image, perhaps at a smaller scale."""

    image: Image.Image
    size: tuple[int, int]
    """Width and height of the full image."""
    corner: tuple[float, float] = (0.0, 0.0)
    """The position of the full image's upper left corner in `image`. At a smaller scale a last, incomplete block becomes a whole
    pixel, which may come first once the image is upright."""
    scale: int = 1
    """Pixels of the full image for one pixel of `image`, in each direction."""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the full image in `image`, without the rest of an incomplete block."""
        x, y = self.corner
        width, height = self.size
        return (
            x,
            y,
            min(x + width / self.scale, float(self.image.width)),
            min(y + height / self.scale, float(self.image.height)),
        )


def decode_image(data: bytes, max_pixels: int, path: str, shorter: int = 0) -> UprightImage:
    """Encoded bytes → image. Raises InvalidInput for the field `path`.

    With `shorter`, a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as its shorter side keeps that
    many pixels: libjpeg then decodes its blocks at that scale, which averages pixels and saves most of the time.
    """
    if not data:
        raise InvalidInput(path, "is empty; expected a JPEG, PNG or WebP image")
    try:
        return _upright(load_image(data, max_pixels, shorter))
    except ImageTooLarge as large:
        raise InvalidInput(
            path, f"expected at most {max_pixels:,} pixels, got {large.width:,} × {large.height:,}"
        ) from None
    except UnsupportedImage:
        raise InvalidInput(path, "expected a JPEG, PNG or WebP image, got something else") from None
    except DamagedImage:
        raise InvalidInput(path, "the image is truncated or damaged") from None


def _upright(picture: LoadedImage) -> UprightImage:
    (width, height), orientation = picture.size, picture.orientation
    scale = round(width / picture.image.width)
    turn = upright_transpose(orientation)
    upright = to_rgb(picture.image if turn is None else picture.image.transpose(turn))
    if orientation in SIDEWAYS:
        width, height = height, width
    left = upright.width - width / scale if orientation in FROM_RIGHT else 0.0
    top = upright.height - height / scale if orientation in FROM_BELOW else 0.0
    return UprightImage(upright, (width, height), (left, top), scale)


def resize_and_crop(decoded: UprightImage, recipe: ImageRecipe) -> Image.Image:
    """Resizes the shorter side to `resize_shorter` and crops the centre to `size`; computes only the pixels inside the crop.
    A recipe that stretches resizes the whole image to `size`, or to `stretch_to` before the crop; a letterbox pads it."""
    method = Image.Resampling.BICUBIC if recipe.interpolation == "bicubic" else Image.Resampling.BILINEAR
    if recipe.stretch:
        return decoded.image.resize((recipe.size[1], recipe.size[0]), method, box=decoded.extent)
    width, height = decoded.size
    crop_h, crop_w = recipe.size
    if recipe.letterbox:
        inner_w, inner_h, left, top = _fitted(decoded.size, recipe)
        canvas = Image.new("RGB", (crop_w, crop_h))
        canvas.paste(decoded.image.resize((inner_w, inner_h), method, box=decoded.extent), (left, top))
        return canvas
    resized_w, resized_h, left, top = _crop(decoded.size, recipe)
    x, y = width / decoded.scale / resized_w, height / decoded.scale / resized_h
    x0, y0 = decoded.corner
    right = min(x0 + (left + crop_w) * x, float(decoded.image.width))  # rounding must not carry it past the edge
    bottom = min(y0 + (top + crop_h) * y, float(decoded.image.height))
    box = (x0 + left * x, y0 + top * y, right, bottom)
    return decoded.image.resize((crop_w, crop_h), method, box=box)


def seen_area(size: tuple[int, int], recipe: ImageRecipe) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what `resize_and_crop` keeps of an image of `size` (width, height), in its pixels; with a
    letterbox the area reaches beyond the image."""
    width, height = size
    if recipe.stretch:
        return 0.0, 0.0, float(width), float(height)
    crop_h, crop_w = recipe.size
    if recipe.letterbox:
        inner_w, inner_h, x0, y0 = _fitted(size, recipe)
        x, y = width / inner_w, height / inner_h
        return -x0 * x, -y0 * y, (crop_w - x0) * x, (crop_h - y0) * y
    resized_w, resized_h, left, top = _crop(size, recipe)
    x, y = width / resized_w, height / resized_h
    return left * x, top * y, min((left + crop_w) * x, float(width)), min((top + crop_h) * y, float(height))


def _fitted(size: tuple[int, int], recipe: ImageRecipe) -> tuple[int, int, int, int]:
    """Width and height of the whole image inside the letterbox, and its left and top edge there."""
    (width, height), (outer_h, outer_w) = size, recipe.size
    scale = min(outer_w / width, outer_h / height)
    inner_w, inner_h = max(1, round(width * scale)), max(1, round(height * scale))
    return inner_w, inner_h, (outer_w - inner_w) // 2, (outer_h - inner_h) // 2


def _crop(size: tuple[int, int], recipe: ImageRecipe) -> tuple[int, int, int, int]:
    """Width and height of the whole resized image, and the left and top edge of the crop in it."""
    width, height = size
    if recipe.stretch_to is not None:
        resized_h, resized_w = recipe.stretch_to
    else:
        shorter = min(width, height)
        # torchvision rounds the longer side down in training; one pixel more would shift the whole crop.
        resized_w = max(recipe.size[1], width * recipe.resize_shorter // shorter)
        resized_h = max(recipe.size[0], height * recipe.resize_shorter // shorter)
    crop_h, crop_w = recipe.size
    rounded: Callable[[float], int] = math.floor if recipe.crop_rounding == "down" else round
    return resized_w, resized_h, rounded((resized_w - crop_w) / 2), rounded((resized_h - crop_h) / 2)
