"""Copies of pictures with the boxes, masks or points that were found in them, pictures that a network made, contact sheets of
videos, slices of volumes, and notes as a piano roll with a MIDI file, for `zoo predict --draw`.

Existing files are never changed: a copy gets the first free name, and appears whole or not at all.
"""

from __future__ import annotations

import colorsys
import io
import os
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from service.cli.inputs.input_source import STDIN
from service.cli.rendering.attributions import with_heat_map
from service.cli.rendering.skeleton import draw_skeleton
from service.cli.rendering.sounds.piano_roll import piano_roll
from service.client import (
    Classification,
    Detections,
    Keypoints,
    NoteEvents,
    PredictionError,
    Segmentation,
    Shots,
    TransformedImage,
    VolumeSegmentation,
)

if TYPE_CHECKING:
    from PIL import Image

    from service.client import Box, Outcome

DRAWN_TASKS = (
    "audio-to-notes",
    "image-segmentation",
    "image-segmentation-3d",
    "image-to-image",
    "keypoint-detection",
    "object-detection",
    "video-segmentation",
)
"""Tasks whose answers can be drawn."""

ATTRIBUTED_TASK = "image-classification"
"""Its attributions can be drawn."""

MOST_COPIES = 1000
"""Of one name in a folder."""
_OPACITY = 0.5
"""Of the colours of classes."""
_MOST_NAMES = 10
"""Names of classes on a picture."""
_GOLDEN = 0.618034
"""Steps of hue by the golden ratio keep the colours of neighbouring classes apart."""


class CannotDraw(Exception):
    """A picture cannot be drawn. The text is one sentence for people."""


class Drawing:
    """Draws answers onto copies of their pictures in one folder."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder. Raises CannotDraw."""
        try:
            import PIL  # noqa: F401 - a client may be installed without it
        except ModuleNotFoundError:
            reason = "--draw needs the package 'pillow', which the extra `server` of zoo-serving brings"
            raise CannotDraw(reason) from None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotDraw(f"the folder {folder} cannot be made: {_why(error)}") from None
        self._folder = folder
        self.count = 0
        """Copies that were written."""
        self._beside: Counter[str] = Counter()

    def draw(self, name: str, picture: Path | bytes, outcome: Outcome, folder: str = "") -> Path | None:
        """Draws an answer onto a copy of its picture, or writes the picture that is the answer; gives the path of the file, or
        None for an answer that has failed.

        Args:
            name: of the input; its last part names the copy.
            folder: below the folder of copies, where this one is written: that of the picture below the folder that was named.

        Raises:
            CannotDraw: the picture cannot be read, differs from the one that was sent, or the copy cannot be written.
        """
        if isinstance(outcome, PredictionError):
            return None
        stem = Path(folder) / _stem(name)
        if isinstance(outcome, TransformedImage):
            return self._finished(stem.with_name(f"{stem.name}-{outcome.model}"), outcome.image)
        if isinstance(outcome, Shots):
            return self._saved(stem.with_name(f"{stem.name}-shots"), _sheet(name, picture, outcome))
        if isinstance(outcome, VolumeSegmentation):
            return self._slices(stem, picture, outcome)
        if isinstance(outcome, NoteEvents):
            path = self._saved(stem.with_name(f"{stem.name}-notes"), piano_roll(outcome))
            self._finished(stem.with_name(path.stem), outcome.midi, ".mid")
            return path
        if isinstance(outcome, Classification) and (outcome.attribution is not None or not outcome.labels):
            return self._heat_map(stem, name, picture, outcome)
        if not isinstance(outcome, Detections | Keypoints | Segmentation):
            raise CannotDraw(f"an answer of the kind {type(outcome).__name__} cannot be drawn")
        image = _upright(picture)
        if image.size != (outcome.width, outcome.height):
            raise CannotDraw(f"{name} is not the picture that was sent: it has {image.width} × {image.height} pixels")
        if isinstance(outcome, Detections):
            _draw_objects(image, outcome)
        elif isinstance(outcome, Keypoints):
            draw_skeleton(image, outcome, [colour_of(point.index) for point in outcome.points])
        else:
            image = _with_mask(image, outcome)
        return self._saved(stem.with_name(f"{stem.name}-drawn"), image)

    def _heat_map(self, stem: Path, name: str, picture: Path | bytes, outcome: Classification) -> Path | None:
        """The picture under the heat map of its best label; None where no label reached the threshold."""
        found = outcome.attribution
        if found is None or found.heat_map is None:
            return None
        image, area = _upright(picture), found.heat_map
        if area.xmax > image.width + 1 or area.ymax > image.height + 1:
            raise CannotDraw(f"{name} is not the picture that was sent: it has {image.width} × {image.height} pixels")
        return self._saved(stem.with_name(f"{stem.name}-attribution"), with_heat_map(image, area))

    def _slices(self, stem: Path, volume: Path | bytes, outcome: VolumeSegmentation) -> Path:
        """Three slices with the outline of the mask; the mask is written beside them."""
        from service.cli.rendering.volume_slices import sliced

        try:
            picture = sliced(volume, outcome.mask)
        except ModuleNotFoundError:
            reason = "--draw needs the package 'nibabel' for volumes, which the extra `server` of zoo-serving brings"
            raise CannotDraw(reason) from None
        except Exception as error:  # readers raise nearly any exception
            raise CannotDraw(f"a volume cannot be read again ({type(error).__name__})") from None
        name = stem.name.removesuffix(".nii")
        self._finished(stem.with_name(f"{name}-mask"), outcome.mask, ".nii.gz")
        return self._saved(stem.with_name(f"{name}-drawn"), picture)

    def _saved(self, stem: Path, image: Image.Image) -> Path:
        encoded = io.BytesIO()
        image.save(encoded, "PNG")
        return self._finished(stem, encoded.getvalue())

    def _finished(self, stem: Path, content: bytes, suffix: str = ".png") -> Path:
        """The path of a new file with this content. Raises CannotDraw."""
        try:
            path = self._written(stem, content, suffix)
        except OSError as error:
            raise CannotDraw(f"the folder {self._folder} cannot be written: {_why(error)}") from None
        if suffix == ".png":
            self.count += 1
        else:
            self._beside[suffix] += 1
        return path

    @property
    def beside(self) -> str:
        """What was written beside the pictures, as the end of a sentence."""
        return "".join(f", and {number:,} × *{suffix}" for suffix, number in sorted(self._beside.items()))

    def _written(self, stem: Path, content: bytes, suffix: str) -> Path:
        """A new file with this content, under the first free name."""
        folder = self._folder / stem.parent
        folder.mkdir(parents=True, exist_ok=True)
        staged = folder / f".{uuid.uuid4().hex}"
        try:
            staged.write_bytes(content)
            for number in range(1, MOST_COPIES + 1):
                path = folder / (f"{stem.name}{suffix}" if number == 1 else f"{stem.name}-{number}{suffix}")
                try:
                    os.link(staged, path)  # fails where there is such a file
                except FileExistsError:
                    continue
                return path
            raise CannotDraw(f"the folder {folder} has {MOST_COPIES:,} copies of {stem.name} already")
        finally:
            staged.unlink(missing_ok=True)


def _sheet(name: str, video: Path | bytes, outcome: Shots) -> Image.Image:
    from service.cli.rendering.contact_sheet import NotTheVideo, contact_sheet

    try:
        return contact_sheet(video, outcome)
    except ModuleNotFoundError:
        raise CannotDraw(
            "a contact sheet needs the package 'av', which the extra `server` of zoo-serving brings"
        ) from None
    except NotTheVideo as error:
        raise CannotDraw(f"{name}: {error}") from None


def _upright(picture: Path | bytes) -> Image.Image:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")
    except Exception as error:  # decoders raise nearly any exception
        raise CannotDraw(f"a picture cannot be read again ({type(error).__name__})") from None


def _draw_objects(image: Image.Image, answer: Detections) -> None:
    """Frames with names and scores, the best on top."""
    from PIL import ImageDraw, ImageFont

    pen = ImageDraw.Draw(image)
    size = max(11, round(min(image.size) / 30))
    font: Any = ImageFont.load_default(size)
    for found in reversed(answer.objects):
        colour = colour_of(found.index)
        corners = _inside(found.box, image.size)
        if corners is None:
            continue
        pen.rectangle(corners, outline=colour, width=max(1, size // 6))
        _write(pen, corners[0], corners[1], f"{found.name} {found.score:.2f}", font, colour, image.size)


def _with_mask(image: Image.Image, answer: Segmentation) -> Image.Image:
    """The image under the colours of its classes, with the names of the largest."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    try:
        with Image.open(io.BytesIO(answer.mask)) as opened:
            classes = np.asarray(opened)
    except Exception as error:  # decoders raise nearly any exception
        raise CannotDraw(f"the mask of the answer cannot be read ({type(error).__name__})") from None
    if classes.shape != (image.height, image.width):
        raise CannotDraw("the mask of the answer has another size than the picture")
    colours = np.array([colour_of(index) for index in range(int(classes.max()) + 1)], np.uint8)
    blended = Image.blend(image, Image.fromarray(colours[classes]), _OPACITY)
    pen = ImageDraw.Draw(blended)
    size = max(11, round(min(image.size) / 30))
    font: Any = ImageFont.load_default(size)
    for line, one in enumerate(answer.classes[:_MOST_NAMES]):
        text = f"{one.name} {one.share:.0%}"
        _write(pen, 0.0, (line + 1) * (size + 6.0), text, font, colour_of(one.index), image.size)
    return blended


def _write(
    pen: Any, x: float, y: float, text: str, font: Any, colour: tuple[int, int, int], size: tuple[int, int]
) -> None:
    """A text on a ground of the colour, above a point where there is room, and always inside the picture."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x, y = max(0.0, min(x, size[0] - width)), max(0.0, y - height)
    pen.rectangle((x, y, x + width, y + height), fill=colour)
    dark = sum(colour) > 3 * 128
    pen.text((x + 2 - left, y + 2 - top), text, font=font, fill=(0, 0, 0) if dark else (255, 255, 255))


def _inside(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """The part of a box that is in the picture; None where there is none."""
    x0, x1 = max(0.0, box.xmin), min(size[0] - 1.0, box.xmax)
    y0, y1 = max(0.0, box.ymin), min(size[1] - 1.0, box.ymax)
    return (x0, y0, x1, y1) if x0 <= x1 and y0 <= y1 else None


def colour_of(index: int) -> tuple[int, int, int]:
    """The colour of a class, always the same."""
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1.0, 0.8, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def _stem(name: str) -> str:
    """The first part of a copy's name."""
    return "stdin" if name == STDIN else (Path(name).stem or "picture")


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
