"""YOLO's folders are read as pictures with boxes; wrong lines leave their picture out by name, wrong names are refused."""

from pathlib import Path

import pytest

from service.datasets.dataset import DatasetKind, LabelledBox
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import picture, read, zipped

NAMES = "train: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"
CAT, DOG = "0 0.5 0.5 0.5 0.5\n", "1 0.25 0.25 0.5 0.5\n"


def archive(changes: dict[str, str | bytes | None]) -> bytes:
    files: dict[str, str | bytes | None] = {"data.yaml": NAMES}
    for split, count in (("train", 4), ("val", 2)):
        for i in range(count):
            files[f"images/{split}/{i}.jpg"] = picture(i + 10 * count)
            files[f"labels/{split}/{i}.txt"] = CAT + (DOG if i % 2 else "")
    return zipped({name: content for name, content in (files | changes).items() if content is not None})


def test_lines_are_boxes_and_a_picture_without_a_file_has_none(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.zip", archive({"labels/train/2.txt": None, "labels/train/0.txt": "\n"}))
    info = examples.info
    assert (info.kind, info.labels) == (DatasetKind.BOXES, ("cat", "dog"))
    assert info.report.split_counts == {"train": 4, "validation": 2}
    assert (examples[0].target, examples[2].target) == ((), ())
    assert examples[1].target == (LabelledBox(0, 0.25, 0.25, 0.75, 0.75), LabelledBox(1, 0.0, 0.0, 0.5, 0.5))
    assert any("2 pictures without a box" in warning for warning in info.report.warnings)


@pytest.mark.parametrize("above", ["", "set/"])
def test_splits_above_the_folders_and_names_in_other_forms(tmp_path: Path, above: str) -> None:
    files: dict[str, str | bytes] = {}
    for k, split in enumerate(("train", "test")):
        for i in range(3):
            files[f"{above}{split}/images/{i}.png"] = picture(i + 10 * k, "PNG")
            files[f"{above}{split}/labels/{i}.txt"] = CAT + DOG
    for number, names in enumerate(({"data.yaml": "names: [cat, dog]"}, {"classes.txt": "cat\ndog\n"})):
        data = zipped(files | {above + name: text for name, text in names.items()})
        info = read(tmp_path, f"{number}.zip", data).info
        assert (info.labels, info.report.split_counts) == (("cat", "dog"), {"test": 3, "train": 3})
        assert info.report.skipped_count == 0


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 0.5 0.5 -0.5 0.5", "line 1 has a negative width or height"),
        ("0 0.5 0.5 1.5 0.5", "line 1 reaches outside of the picture of 1 × 1"),
        ("0 1.5 0.5 0.2 0.5", "line 1 lies outside of the picture"),
        ("7 0.5 0.5 0.5 0.5", "line 1 has class '7'; expected one of 0..1"),
        ("cat 0.5 0.5 0.5 0.5", "line 1 has class 'cat'; expected one of 0..1"),
        ("0 0.5 0.5 nan 0.5", "line 1 holds a number that is not finite"),
        ("0 0.5 0.5 a 0.5", "expected 5 numbers: class, x, y, width, height"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "line 1 has 7 cells; expected 5: class, x, y, width, height"),
    ],
)
def test_picture_with_a_wrong_line_is_left_out_by_name(tmp_path: Path, line: str, reason: str) -> None:
    report = read(tmp_path, "a.zip", archive({"labels/train/0.txt": line})).info.report
    (skipped,) = report.skipped
    assert (report.examples, skipped.file) == (5, "images/train/0.jpg")
    assert reason in skipped.reason


def test_boxes_without_a_picture_are_reported(tmp_path: Path) -> None:
    report = read(tmp_path, "a.zip", archive({"images/train/0.jpg": None})).info.report
    assert [(one.file, one.reason) for one in report.skipped] == [
        ("labels/train/0.txt", "there is no picture for this file of boxes")
    ]
    assert report.input_count == report.examples + report.skipped_count


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ("names: [", "'data.yaml' is broken: it cannot be read as YAML"),
        ("nc: 2", "'data.yaml' has no 'names'"),
        ("names: [[a], b]", "'names' must hold a name for each number of a class"),
        (None, "no data.yaml and no classes.txt names the classes"),
    ],
)
def test_names_of_classes_that_cannot_be_read_are_refused(tmp_path: Path, names: str | None, problem: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "a.zip", archive({"data.yaml": names}), DatasetKind.BOXES)
    assert problem in caught.value.problem
