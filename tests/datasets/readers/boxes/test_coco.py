"""COCO's JSON is read as pictures with boxes; wrong boxes leave their picture out by name, wrong files are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.datasets.dataset import DatasetKind, LabelledBox
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import picture, read, zipped

Document = dict[str, Any]


def document(pictures: int = 4) -> Document:
    """A cat in each picture of 24 × 16, and a dog beside it in the even ones."""
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 24, "height": 16} for i in range(pictures)]
    cats = [{"id": i, "image_id": i, "category_id": 7, "bbox": [6, 4, 12, 8]} for i in range(pictures)]
    dogs = [{"id": 100 + i, "image_id": i, "category_id": 9, "bbox": [0, 0, 24.1, 16]} for i in range(0, pictures, 2)]
    categories = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}, {"id": 11, "name": "unicorn"}]
    return {"info": {}, "images": images, "annotations": cats + dogs, "categories": categories}


def archive(annotations: Document | bytes, pictures: int = 4, **more: bytes) -> bytes:
    written = annotations if isinstance(annotations, bytes) else json.dumps(annotations)
    return zipped({**{f"images/{i}.jpg": picture(i) for i in range(pictures)}, "annotations/all.json": written, **more})


def test_boxes_are_shares_of_their_picture(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.zip", archive(document()))
    info = examples.info
    assert (info.kind, info.labels) == (DatasetKind.BOXES, ("cat", "dog"))
    assert info.report.class_counts == {"cat": 4, "dog": 2}
    assert (info.report.input_count, info.report.examples, info.report.skipped_count) == (4, 4, 0)
    assert examples[1].target == (LabelledBox(0, 0.25, 0.25, 0.75, 0.75),)
    assert examples[2].target == (LabelledBox(0, 0.25, 0.25, 0.75, 0.75), LabelledBox(1, 0.0, 0.0, 1.0, 1.0))
    assert "2 boxes were cut off at the edge of the picture" in info.report.warnings
    assert "classes without a box, which were left out: 'unicorn'" in info.report.warnings


def test_files_of_splits_and_pictures_without_a_box(tmp_path: Path) -> None:
    train, test = document(), document(2)
    train["annotations"] = [one for one in train["annotations"] if one["image_id"] != 3]
    files = {
        **{f"train2017/{i}.jpg": picture(i) for i in range(4)},
        **{f"val2017/{i}.jpg": picture(10 + i) for i in range(2)},
        "val2017/spare.jpg": picture(99),
        "annotations/instances_train2017.json": json.dumps(train),
        "annotations/instances_val2017.json": json.dumps(test),
    }
    for split, one in (("train2017", train), ("val2017", test)):
        for image in one["images"]:
            image["file_name"] = f"{split}/{image['file_name']}"
        files[f"annotations/instances_{split}.json"] = json.dumps(one)
    examples = read(tmp_path, "a.zip", zipped(files))
    assert examples.info.report.split_counts == {"train": 4, "validation": 2}
    assert examples[3].target == ()
    assert any("1 picture without a box" in warning for warning in examples.info.report.warnings)
    assert ("val2017/spare.jpg", "no file of boxes names it") in [
        (one.file, one.reason) for one in examples.info.report.skipped
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [6, 4, -2, 8]}, "annotation 1 has a negative width or height; its corners are (6, 4, 4, 12)"),
        ({"bbox": [-6, 4, 12, 8]}, "reaches outside of the picture of 24 × 16 pixels; its corners are (-6, 4, 6, 12)"),
        ({"bbox": [30, 4, 12, 8]}, "lies outside of the picture of 24 × 16 pixels"),
        ({"bbox": [6, 4, 0, 8]}, "annotation 1 has no area"),
        ({"bbox": [6, 4, 2]}, "annotation 1 has bbox [6, 4, 2]; expected 4 numbers: x, y, width, height"),
        ({"bbox": None}, "expected 4 numbers"),
        ({"category_id": 8}, "annotation 1 is of category 8, which the file does not name"),
        ({"category_id": [7]}, "annotation 1 is of category [7], which the file does not name"),
    ],
)
def test_picture_with_a_wrong_box_is_left_out_by_name(tmp_path: Path, change: Document, reason: str) -> None:
    given = document()
    given["annotations"][1] |= change
    report = read(tmp_path, "a.zip", archive(given)).info.report
    assert report.examples == 3
    (skipped,) = [one for one in report.skipped if one.file == "images/1.jpg"]
    assert reason in skipped.reason


def test_missing_and_repeated_pictures_and_other_sizes_are_left_out_by_name(tmp_path: Path) -> None:
    given = document(7)
    given["images"][4]["file_name"] = "gone.jpg"
    given["images"][5]["file_name"] = "0.jpg"
    given["images"][6] |= {"file_name": "3.jpg"}
    given["images"][3]["width"] = 25
    given["annotations"].append({"id": 500, "image_id": 77, "category_id": 7, "bbox": [1, 1, 2, 2]})
    report = read(tmp_path, "a.zip", archive(given)).info.report
    found = {(one.file, one.reason) for one in report.skipped}
    assert report.examples == 3
    assert ("gone.jpg", "there is no picture 'gone.jpg' in the archive") in found
    assert ("images/0.jpg", "its picture is named before") in found
    assert ("images/3.jpg", "is 24 × 16 pixels upright, and its boxes were drawn for 25 × 16") in found
    assert ("annotations/all.json", "annotation 500 is for image 77, which the file does not name") in found
    assert report.input_count == report.examples + report.skipped_count


def _repeat_image(given: Document) -> None:
    given["images"][1]["id"] = 0


def _repeat_category(given: Document) -> None:
    given["categories"][1]["id"] = 7


def _repeat_name(given: Document) -> None:
    given["categories"][1]["name"] = "cat"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_repeat_image, "has two entries in 'images' with id 0"),
        (_repeat_category, "has two entries in 'categories' with id 7"),
        (_repeat_name, "has two categories of the name 'cat'"),
        (lambda given: given.pop("annotations"), "has no list 'annotations', as COCO's files do"),
        (lambda given: given["annotations"].clear(), "no class has a box in at least 2 pictures"),
        (lambda given: given["images"][0].pop("file_name"), "image 0 has no file_name"),
        (lambda given: given["images"][0].pop("id"), "images[0] has no id"),
        (lambda given: given["annotations"].append(3), "annotations[6] is no object"),
    ],
)
def test_file_that_cannot_be_trusted_as_a_whole_is_refused(
    tmp_path: Path, change: Callable[[Document], object], problem: str
) -> None:
    given = document()
    change(given)
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "a.zip", archive(given))
    assert problem in caught.value.problem
    assert str(tmp_path) not in caught.value.message


def test_broken_json_is_refused_and_other_json_beside_class_folders_is_not(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"'annotations/all.json' is broken: it cannot be read as JSON"):
        read(tmp_path, "a.zip", archive(b'{"images": [{'))
    files = {f"{name}/{i}.jpg": picture(i + 10 * k) for k, name in enumerate(("cat", "dog")) for i in range(2)}
    settings = {**files, "settings.json": b'{"size": 3}'}
    assert read(tmp_path, "b.zip", zipped(settings)).info.kind is DatasetKind.IMAGE_FOLDER
    with pytest.raises(InvalidInput, match=r"neither COCO's JSON .* nor YOLO's folder"):
        read(tmp_path, "c.zip", zipped(settings), DatasetKind.BOXES)
    with pytest.raises(InvalidInput, match=r"boxes come without columns"):
        read(tmp_path, "d.zip", archive(document()), target="cat")


def test_annotation_ids_may_repeat_and_crowds_are_left_out(tmp_path: Path) -> None:
    given = document()
    given["annotations"][1]["id"] = 0
    given["annotations"][2]["iscrowd"] = 1
    report = read(tmp_path, "a.zip", archive(given)).info.report
    assert report.class_counts == {"cat": 3, "dog": 2}
    assert any("repeats the ids of 1 annotation; each is used" in warning for warning in report.warnings)
    assert any("left out 1 annotation of crowds" in warning for warning in report.warnings)
