"""Classes, duplicates and skipped inputs are counted, and data that a model cannot learn from are refused."""

from pathlib import Path

import pytest

from service.datasets.dataset_limits import DatasetLimits
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import (
    photos,
    picture,
    read,
    zipped,
)


def refusal(tmp_path: Path, files: dict[str, bytes], **how: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "a.zip", zipped(files), **how)  # type: ignore[arg-type]
    assert str(tmp_path) not in caught.value.message
    return caught.value


def test_single_class_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, photos({"cat": 5})).problem == "holds only one class, 'cat'; at least two are needed"


def test_class_of_one_example_is_refused_by_name(tmp_path: Path) -> None:
    problem = refusal(tmp_path, photos({"cat": 5, "dog": 1})).problem
    assert problem.startswith("class 'dog' has 1 usable example, and at least 2 are needed")


def test_tiny_classes_are_warned_of(tmp_path: Path) -> None:
    warnings = read(tmp_path, "a.zip", zipped(photos({"cat": 12, "dog": 3}))).info.report.warnings
    assert "classes with fewer than 10 examples: 'dog'" in warnings


def test_classes_that_look_like_several_each_are_warned_of_with_the_separator(tmp_path: Path) -> None:
    rows = [f"text {number},{name}" for number in range(12) for name in ("animal", "motion", "animal|motion", "a|b")]
    table = "\n".join(["text,label", *rows]).encode()
    warnings = read(tmp_path, "a.csv", table).info.report.warnings
    assert "classes that look like several each: 'animal|motion'; the label separator '|' divides them" in warnings, (
        warnings
    )


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    assert (
        "more than 2 classes"
        in refusal(tmp_path, photos(dict.fromkeys("abc", 2)), limits=DatasetLimits(classes=2)).message
    )


def test_too_long_class_name_is_skipped(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2, "x" * 210: 1})
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert "a name of more than 200 characters" in skipped.reason


def test_duplicates_are_counted_and_warned_of_across_splits(tmp_path: Path) -> None:
    files = photos({"cat": 3, "dog": 3}, above="train/")
    files |= {"test/cat/again.jpg": files["train/cat/0.jpg"], "test/dog/new.jpg": picture(99)}
    files |= {"train/dog/not_a_dog.jpg": files["train/cat/1.jpg"]}
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert report.duplicates == 2
    assert "1 content in more than one split: metrics on them are too good" in report.warnings
    assert "1 content with different targets" in report.warnings


def test_list_of_skipped_files_is_bounded(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {f"cat/bad{i}.jpg": b"x" for i in range(9)}
    report = read(tmp_path, "a.zip", zipped(files), limits=DatasetLimits(skipped_shown=4)).info.report
    assert (report.skipped_count, len(report.skipped)) == (9, 4)
