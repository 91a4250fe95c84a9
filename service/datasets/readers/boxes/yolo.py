"""Boxes in YOLO's form: beside `images/…/1.jpg` a file `labels/…/1.txt` with a line `class x y width height` for each box, in
shares of the picture and with x and y of its centre; and the names of the classes in `data.yaml`, or one a line in `classes.txt`
(https://docs.ultralytics.com/datasets/detect/)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import yaml

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import quoted, quoted_list
from service.datasets.readers.boxes.boxed_pictures import BoxReader, GivenBox, GivenPicture, Stray
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.split_names import split_from_folder
from service.errors import InvalidInput

LABELS = "labels"
IMAGES = "images"
YAML_SUFFIXES = (".yaml", ".yml")
NAME_FILES = ("classes.txt", "obj.names")
MAX_YAML_BYTES = 1 << 20


def yolo_names(files: ArchiveFiles) -> tuple[PurePosixPath, ...]:
    """The files of an archive that may name YOLO's classes; none unless files of boxes lie below a folder `labels`."""
    if not _label_files(files):
        return ()
    found = [path for path in files.others if path.suffix.lower() in YAML_SUFFIXES]
    return tuple(found or [path for path in (*files.texts, *files.others) if path.name.lower() in NAME_FILES])


def yolo_files(files: ArchiveFiles) -> tuple[PurePosixPath, ...]:
    """All files of an archive with boxes and names of classes."""
    return (*_label_files(files), *yolo_names(files))


def yolo_reader(files: ArchiveFiles, limits: DatasetLimits) -> BoxReader:
    """The reader of such folders. Raises InvalidInput if no file, or a broken one, names the classes."""
    names = _names(files)
    boxes = {_key(path, LABELS): path for path in _label_files(files)}
    pictures = []
    for path in files.images:
        key = _key(path, IMAGES) if IMAGES in _folders(path) else _key(path, LABELS)
        file = boxes.pop(key, None)
        given, problem = ((), "") if file is None else _read_boxes(files.root / file, names, limits)
        split = next((found for part in path.parts[:-1] if (found := split_from_folder(part))), "")
        if problem:
            problem = f"{quoted(str(file))}: {problem}"
        pictures.append(GivenPicture(str(path), path, given, shares=True, split=split, problem=problem))
    strays = [Stray(str(path), "there is no picture for this file of boxes") for path in boxes.values()]
    return BoxReader(files, pictures, limits, strays, classes=list(names.values()))


def _label_files(files: ArchiveFiles) -> tuple[PurePosixPath, ...]:
    return tuple(p for p in files.texts if LABELS in _folders(p) and p.suffix == ".txt" and p.name not in NAME_FILES)


def _folders(path: PurePosixPath) -> tuple[str, ...]:
    return tuple(part.lower() for part in path.parts[:-1])


def _key(path: PurePosixPath, folder: str) -> tuple[str, ...]:
    """The path without its suffix and without the last folder of this name, equal for a picture and its boxes."""
    parts = list(path.with_suffix("").parts)
    at = [part.lower() for part in parts[:-1]]
    if folder in at:
        parts.pop(len(at) - 1 - at[::-1].index(folder))
    return tuple(parts)


def _names(files: ArchiveFiles) -> dict[int, str]:
    """Names of the classes by number."""
    found = yolo_names(files)
    if not found:
        raise InvalidInput("data", "no data.yaml and no classes.txt names the classes of the boxes")
    if len(found) > 1:
        listed = quoted_list([str(path) for path in found])
        raise InvalidInput("data", f"several files may name the classes of the boxes, {listed}; send one")
    (path,) = found
    shown, file = quoted(str(path)), files.root / path
    if file.stat().st_size > MAX_YAML_BYTES:
        raise InvalidInput("data", f"{shown} is too large to name classes; at most {MAX_YAML_BYTES:,} bytes are read")
    try:
        text = file.read_text(encoding="utf-8-sig")
        if path.suffix.lower() not in YAML_SUFFIXES:
            return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InvalidInput("data", f"{shown} is broken: it cannot be read as YAML in UTF-8") from None
    names = document.get("names") if isinstance(document, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise InvalidInput("data", f"{shown} has no 'names', a list of the names of the classes")
    if not all(isinstance(key, int) and isinstance(name, str | int | float) for key, name in names.items()):
        raise InvalidInput("data", f"{shown}: 'names' must hold a name for each number of a class")
    return {key: str(name) for key, name in names.items()}


def _read_boxes(file: Path, names: dict[int, str], limits: DatasetLimits) -> tuple[tuple[GivenBox, ...], str]:
    """(boxes, "") of a file, or ((), what is wrong with it)."""
    if file.stat().st_size > limits.text_bytes:
        return (), f"is larger than {limits.text_bytes:,} bytes"
    boxes = []
    for number, line in enumerate(file.read_bytes().decode("utf-8", "replace").splitlines(), 1):
        cells = line.split()
        if not cells:
            continue
        where = f"line {number}"
        if len(cells) != 5:
            return (), f"{where} has {len(cells)} cells; expected 5: class, x, y, width, height"
        try:
            x, y, width, height = map(float, cells[1:])
        except ValueError:
            return (), f"{where} is {quoted(line.strip())}; expected 5 numbers: class, x, y, width, height"
        if not cells[0].isdecimal() or int(cells[0]) not in names:
            return (), f"{where} has class {quoted(cells[0])}; expected one of {_listed(tuple(names))}"
        if not all(map(math.isfinite, (x, y, width, height))):
            return (), f"{where} holds a number that is not finite"
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        boxes.append(GivenBox(where, names[int(cells[0])], corners))
    return tuple(boxes), ""


def _listed(numbers: Sequence[int]) -> str:
    ordered = sorted(numbers)
    return f"{ordered[0]}..{ordered[-1]}" if ordered == list(range(ordered[0], ordered[-1] + 1)) else str(ordered[:20])
