"""Boxes in COCO's JSON (Lin et al., arXiv:1405.0312; https://cocodataset.org/#format-data): one file, or one for each split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from model_zoo import strict_json
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import counted, quoted
from service.datasets.readers.boxes.boxed_pictures import (
    BoxReader,
    GivenBox,
    GivenPicture,
    Stray,
    missing_picture,
)
from service.datasets.readers.media.archive_files import ArchiveFiles
from service.datasets.readers.media.named_files import NamedFiles
from service.datasets.split_names import only_split_in, split_from_folder
from service.errors import InvalidInput

LISTS = ("images", "annotations", "categories")
SNIFFED = 4096
"""Bytes at the beginning of a JSON file in which one of COCO's keys stands."""
KEYS = tuple(f'"{key}"'.encode() for key in (*LISTS, "info", "licenses"))


def coco_files(files: ArchiveFiles) -> tuple[PurePosixPath, ...]:
    """The JSON files of an archive that look like COCO's."""
    found = []
    for path in files.others:
        if path.suffix.lower() == ".json":
            with (files.root / path).open("rb") as file:
                start = file.read(SNIFFED)
            if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and any(key in start for key in KEYS):
                found.append(path)
    return tuple(found)


def coco_reader(files: ArchiveFiles, annotations: Sequence[PurePosixPath], limits: DatasetLimits) -> BoxReader:
    """The reader of pictures with such files. Raises InvalidInput for a file that cannot be read as a whole."""
    pictures: list[GivenPicture] = []
    strays: list[Stray] = []
    remarks: list[str] = []
    classes: dict[str, None] = {}
    for path in annotations:
        document = _Document(files, path)
        pictures += document.pictures()
        strays += document.strays
        remarks += document.remarks
        classes |= dict.fromkeys(document.categories.values())
    named = {picture.path for picture in pictures}
    strays += [Stray(str(path), "no file of boxes names it") for path in files.images if path not in named]
    return BoxReader(files, pictures, limits, strays, remarks, classes=list(classes))


class _Document:
    """One JSON file, checked as a whole."""

    def __init__(self, files: ArchiveFiles, path: PurePosixPath) -> None:
        self._name = str(path)
        self._named = NamedFiles(files.images, path.parent)
        self._split = only_split_in(path.stem) or split_from_folder(path.parent.name)
        self.strays: list[Stray] = []
        self.remarks: list[str] = []
        try:
            document = strict_json.read((files.root / path).read_bytes())
        except ValueError:
            raise InvalidInput("data", f"{quoted(self._name)} is broken: it cannot be read as JSON") from None
        if not isinstance(document, dict):
            raise InvalidInput("data", f"{quoted(self._name)} holds no JSON object, as COCO's files do")
        images, found, categories = (self._list(document, key) for key in LISTS)
        self._images = self._by_id(images, "images")
        self.categories = {
            key: self._text(category, "name", f"category {key}")
            for key, category in self._by_id(categories, "categories").items()
        }
        names = list(self.categories.values())
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise InvalidInput("data", f"{quoted(self._name)} has two categories of the name {quoted(twice)}")
        self._boxes: dict[int | str, list[Mapping[str, Any]]] = {key: [] for key in self._images}
        self._sort(found)

    def pictures(self) -> Iterator[GivenPicture]:
        """Each image of the file with its boxes, or with what is wrong with them."""
        for key, image in self._images.items():
            name = self._text(image, "file_name", f"image {key}")
            path, _ = self._named.find(name)
            if path is None:
                yield GivenPicture(name, None, problem=missing_picture(name))
                continue
            problem, boxes = "", []
            for annotation in self._boxes[key]:
                box = self._box(annotation)
                if isinstance(box, str):
                    problem = problem or box
                else:
                    boxes.append(box)
            width, height = image.get("width"), image.get("height")
            size = (width, height) if _is_whole(width) and _is_whole(height) else None
            split = self._split or split_from_folder(path.parent.name)
            yield GivenPicture(str(path), path, tuple(boxes), size=size, split=split, problem=problem)

    def _sort(self, annotations: Sequence[Any]) -> None:
        """Annotations by image. Crowds, which are one box around many objects, are left out."""
        ids: set[int | str] = set()
        repeated = crowds = 0
        for at, annotation in enumerate(annotations):
            if not isinstance(annotation, dict):
                raise InvalidInput("data", f"{quoted(self._name)}: annotations[{at}] is no object")
            key = annotation.get("id")
            if _is_id(key):
                repeated += key in ids
                ids.add(key)
            if annotation.get("iscrowd") == 1:
                crowds += 1
            elif _is_id(image := annotation.get("image_id")) and image in self._boxes:
                self._boxes[image].append(annotation)
            else:
                reason = f"annotation {key} is for image {quoted(image)}, which the file does not name"
                self.strays.append(Stray(self._name, reason))
        if repeated:
            what = f"{quoted(self._name)} repeats the ids of {counted(repeated, 'annotation')}"
            self.remarks.append(f"{what}; each is used, since nothing refers to these ids")
        if crowds:
            self.remarks.append(f"{quoted(self._name)}: left out {counted(crowds, 'annotation')} of crowds (iscrowd)")

    def _box(self, annotation: Mapping[str, Any]) -> GivenBox | str:
        """A box, or what is wrong with it."""
        where, category, box = (
            f"annotation {annotation.get('id')}",
            annotation.get("category_id"),
            annotation.get("bbox"),
        )
        if not _is_id(category) or category not in self.categories:
            return f"{where} is of category {quoted(category)}, which the file does not name"
        if not (isinstance(box, list) and len(box) == 4 and all(_is_number(edge) for edge in box)):
            return f"{where} has bbox {quoted(box)}; expected 4 numbers: x, y, width, height"
        x, y, width, height = box
        return GivenBox(where, self.categories[category], (x, y, x + width, y + height))

    def _list(self, document: Mapping[str, Any], key: str) -> list[Any]:
        found = document.get(key)
        if isinstance(found, list):
            return found
        raise InvalidInput("data", f"{quoted(self._name)} has no list {quoted(key)}, as COCO's files do")

    def _by_id(self, entries: Sequence[Any], key: str) -> dict[int | str, Mapping[str, Any]]:
        found: dict[int | str, Mapping[str, Any]] = {}
        for at, entry in enumerate(entries):
            identity = entry.get("id") if isinstance(entry, dict) else None
            if not _is_id(identity):
                raise InvalidInput("data", f"{quoted(self._name)}: {key}[{at}] has no id, a whole number or a text")
            if identity in found:
                raise InvalidInput(
                    "data", f"{quoted(self._name)} has two entries in {quoted(key)} with id {quoted(identity)}"
                )
            found[identity] = entry
        return found

    def _text(self, entry: Mapping[str, Any], key: str, what: str) -> str:
        found = entry.get(key)
        if isinstance(found, str) and found.strip():
            return found.strip()
        raise InvalidInput("data", f"{quoted(self._name)}: {what} has no {key}")


def _is_id(value: object) -> TypeGuard[int | str]:
    return _is_whole(value) or (isinstance(value, str) and bool(value))


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
