"""Pictures with masks: beside `images/…/1.jpg` a PNG `masks/…/1.png` whose pixels are numbers of classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from service.datasets.dataset import MASK_IGNORED, Columns, DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import counted, quoted, quoted_list
from service.datasets.readers.columns.targets import read_class_folder
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.readers.media.decode_check import check_image
from service.datasets.readers.media.images import load_image, upright_size
from service.datasets.readers.parsed_example import ParsedExample, ReaderSchema, Skip, TargetKind, Warn, digest_of
from service.datasets.split_names import split_from_folder
from service.errors import InvalidInput

IMAGES, MASKS = "images", "masks"
NAMES = "classes.txt"
NUMBER_MODES = ("1", "L", "P", "I", "I;16", "I;16B")
"""Modes of Pillow whose pixels are one number; of `P` it is the index into the palette."""
MOST_SHOWN = 10
ANY_SIZE = 1 << 40
"""Pixels of a mask whose size was checked."""

Key = tuple[str, ...]


class MaskReader:
    """Reads pictures with masks (the protocol `Reader`)."""

    def __init__(self, files: ArchiveFiles, limits: DatasetLimits) -> None:
        """Raises InvalidInput for a `classes.txt` that cannot be read."""
        self._files, self._limits = files, limits
        self._pictures = {key: path for path in files.images if (key := key_of(path, IMAGES)) is not None}
        self._masks = {key: path for path in files.images if (key := key_of(path, MASKS)) is not None}
        self._names = _names(files, limits)

    def used(self) -> tuple[PurePosixPath, ...]:
        """The files that are read."""
        names = tuple(path for path in self._files.texts if path.name == NAMES)
        return (*self._pictures.values(), *self._masks.values(), *names)

    def schema(self) -> ReaderSchema:
        """Known from the start."""
        return ReaderSchema(DatasetKind.MASKS, Columns(), TargetKind.MASK)

    def input_count(self) -> int:
        """See `Reader`."""
        return len(self._pictures) + len(self._masks.keys() - self._pictures.keys())

    def examples(self, skip: Skip, warn: Warn) -> Iterator[ParsedExample]:
        """One for each picture, in the order of their paths."""
        seen: set[str] = set()
        for key, path in self._pictures.items():
            example, problem = self._read(path, self._masks.get(key))
            if example is None:
                skip(str(path), 0, problem)
                continue
            seen.update(example.labels or ())
            yield example
        alone = [path for key, path in self._masks.items() if key not in self._pictures]
        for path in alone:
            skip(str(path), 0, "there is no picture for this mask", example=False)
        if alone:
            warn(f"{counted(len(alone), 'mask')} without a picture")
        if unused := [name for name in self._names or () if name not in seen]:
            warn(f"classes without a pixel, which were left out: {quoted_list(unused)}")

    def _read(self, path: PurePosixPath, mask: PurePosixPath | None) -> tuple[ParsedExample | None, str]:
        """(example, ""), or (None, what is wrong with the picture or with its mask)."""
        if mask is None:
            return None, "there is no mask for this picture"
        data, problem = check_image(self._files.root / path, self._limits)
        if problem:
            return None, problem
        content, problem = check_image(self._files.root / mask, self._limits)
        if problem:
            return None, f"its mask {problem}"
        numbers, size, problem = numbers_of(content)
        wanted = upright_size(data, self._limits.pixels)
        if not problem and size != wanted:
            stated = f"{size[0]} × {size[1]}"
            problem = f"is {stated} pixels, and the picture is {wanted[0]} × {wanted[1]} upright"
        if not problem and self._names is not None and (other := [n for n in numbers if n >= len(self._names)]):
            known = f"{quoted(NAMES)} names 0..{len(self._names) - 1}"
            problem = f"has class {', '.join(map(str, other[:MOST_SHOWN]))}, and {known}"
        if problem:
            return None, f"its mask {problem}"
        names = [str(number) if self._names is None else self._names[number] for number in numbers]
        values = {"file": str(path), "mask": str(mask), "numbers": numbers, "names": names}
        split = next((found for part in path.parts[:-1] if (found := split_from_folder(part))), "")
        return ParsedExample(values, digest_of(data), str(path), labels=tuple(sorted(names)), split=split), ""


def numbers_of(mask: bytes) -> tuple[list[int], tuple[int, int], str]:
    """(numbers of classes, ascending, without the ignored one; width and height; what is wrong) of a mask that was checked."""
    image = load_image(mask, ANY_SIZE).image
    if image.format != "PNG":
        return [], image.size, f"is a {image.format}, which changes numbers; expected a PNG"
    if image.mode not in NUMBER_MODES:
        return [], image.size, "is a picture in colours; expected a PNG with one number for each pixel"
    numbers = [int(number) for number in np.unique(mask_pixels(mask)) if number != MASK_IGNORED]
    return numbers, image.size, "" if numbers else "has no pixel with a class"


def mask_pixels(mask: bytes) -> NDArray[np.int64]:
    """The numbers of a mask that was checked, (height, width)."""
    return np.asarray(load_image(mask, ANY_SIZE).image).astype(np.int64)


def key_of(path: PurePosixPath, folder: str) -> Key | None:
    """The path without its suffix and without the folder of this name, equal for a picture and its mask; None elsewhere."""
    parts = list(path.with_suffix("").parts)
    folders = [part.lower() for part in parts[:-1]]
    if folder not in folders:
        return None
    parts.pop(len(folders) - 1 - folders[::-1].index(folder))
    return tuple(parts)


def _names(files: ArchiveFiles, limits: DatasetLimits) -> list[str] | None:
    """The names of the classes by number; None where no file has them."""
    found = [path for path in files.texts if path.name == NAMES]
    if not found:
        return None
    if len(found) > 1:
        raise InvalidInput("data", f"several files name the classes, {quoted_list([str(path) for path in found])}")
    if (files.root / found[0]).stat().st_size > limits.text_bytes:
        raise InvalidInput("data", f"{quoted(NAMES)} is larger than {limits.text_bytes:,} bytes")
    try:
        lines = (files.root / found[0]).read_text(encoding="utf-8-sig").splitlines()
    except ValueError:
        raise InvalidInput("data", f"{quoted(NAMES)} is not UTF-8") from None
    while lines and not lines[-1].strip():
        lines.pop()
    names = []
    for number, line in enumerate(lines):
        name, problem = read_class_folder(line, limits.name_characters)
        if not name or name in names:
            why = problem or ("is empty" if not name else f"repeats the name {quoted(name)}")
            raise InvalidInput("data", f"{quoted(NAMES)}: line {number + 1}, of class {number}, {why}")
        names.append(name)
    return names


def holds_masks(files: ArchiveFiles) -> bool:
    """Whether pictures lie below `images` and their masks below `masks`."""
    masks = {key_of(path, MASKS) for path in files.images if path.suffix.lower() == ".png"} - {None}
    return bool(masks) and any(key_of(path, IMAGES) in masks for path in files.images)
