"""Usable images and sounds become examples, others are named with a reason, and a served model gets the original bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.datasets.dataset import DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.errors import InvalidInput
from service.types import AudioInstance, ImageInstance, RecordInstance, RowInstance
from tests.support.dataset_files import (
    lines,
    photos,
    picture,
    read,
    sound,
    tarred,
    zipped,
)


def refusal(tmp_path: Path, files: dict[str, bytes], **how: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, "a.zip", zipped(files), **how)  # type: ignore[arg-type]
    assert str(tmp_path) not in caught.value.message
    return caught.value


def test_class_folders_give_classes(tmp_path: Path) -> None:
    files = photos({"cat": 3, "dog": 2})
    examples = read(tmp_path, "pets.tar.gz", tarred(files))
    assert examples.info.kind is DatasetKind.IMAGE_FOLDER
    assert examples.info.labels == ("cat", "dog")
    assert [examples[i].target for i in range(5)] == [0, 0, 0, 1, 1]
    assert examples[4].instance == ImageInstance(files["dog/1.jpg"])
    assert examples[4].origin == "dog/1.jpg"
    assert not examples.info.report.split_counts


def test_folder_above_the_class_folders_is_no_class(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}, above="my photos/2024/")
    assert read(tmp_path, "a.zip", zipped(files)).info.labels == ("cat", "dog")


def test_folders_named_after_splits_are_splits(tmp_path: Path) -> None:
    files = (
        photos({"cat": 3, "dog": 3}, above="train/")
        | {"val/cat/9.jpg": picture(101), "val/dog/9.jpg": picture(102)}
        | {"test/cat/9.jpg": picture(103), "test/dog/9.jpg": picture(104)}
    )
    examples = read(tmp_path, "a.zip", zipped(files))
    assert examples.info.labels == ("cat", "dog")
    assert examples.info.report.split_counts == {"test": 2, "train": 6, "validation": 2}


def test_bytes_named_jpg_are_skipped_with_a_reason(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"cat/x.jpg": b"0123456789", "dog/cut.jpg": picture(50, size=(90, 90))[:900]}
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert (report.examples, report.skipped_count) == (4, 2)
    assert [(s.file, s.row, s.reason) for s in report.skipped] == [
        ("cat/x.jpg", 0, "is no JPEG, PNG or WebP picture"),
        ("dog/cut.jpg", 0, "is a broken or cut off picture"),
    ]
    assert "left out 2 of 6 examples" in report.warnings


def test_archive_of_unreadable_images_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, {f"{c}/{i}.jpg": b"0123456789" for c in "ab" for i in range(3)})
    assert error.message == (
        "data: has no usable example; 6 left out, the first is 'a/0.jpg': is no JPEG, PNG or WebP picture"
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_supported_image_formats_are_accepted(tmp_path: Path, form: str) -> None:
    files = {f"{c}/{i}.{form.lower()}": picture(i + 10 * (c == "b"), form) for c in "ab" for i in range(2)}
    assert read(tmp_path, "a.zip", zipped(files)).info.report.examples == 4


def test_unsupported_image_formats_are_skipped(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"cat/x.gif": picture(9, "GIF"), "cat/y.bmp": picture(9, "BMP")}
    assert read(tmp_path, "a.zip", zipped(files)).info.report.skipped_count == 2


def test_huge_image_is_skipped_before_decoding(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    files = photos({"cat": 2, "dog": 2}) | {"cat/x.png": buffer.getvalue()}
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert skipped.reason == "is 20000 × 20000 pixels; at most 50000000 are taken"


def test_single_class_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, photos({"cat": 5})).problem == "holds only one class, 'cat'; at least two are needed"


def test_class_of_one_example_is_refused_by_name(tmp_path: Path) -> None:
    problem = refusal(tmp_path, photos({"cat": 5, "dog": 1})).problem
    assert problem.startswith("class 'dog' has 1 usable example, and at least 2 are needed")


def test_tiny_classes_are_warned_of(tmp_path: Path) -> None:
    warnings = read(tmp_path, "a.zip", zipped(photos({"cat": 12, "dog": 3}))).info.report.warnings
    assert "classes with fewer than 10 examples: 'dog'" in warnings


def test_too_many_classes_are_refused(tmp_path: Path) -> None:
    assert (
        "more than 2 classes"
        in refusal(tmp_path, photos(dict.fromkeys("abc", 2)), limits=DatasetLimits(classes=2)).message
    )


def test_too_long_class_name_is_skipped(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2, "x" * 210: 1})
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert "a name of more than 200 characters" in skipped.reason


def test_image_outside_of_all_folders_has_no_class(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"x.jpg": picture(77)}
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert (skipped.file, skipped.reason) == ("x.jpg", "lies in no folder, so its class is not known")


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


# ── sounds ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_sounds_in_class_folders_are_read(tmp_path: Path) -> None:
    files = {f"{c}/{i}.wav": sound(i + 10 * (c == "b")) for c in "ab" for i in range(2)}
    files |= {"a/bad.wav": b"RIFFxxxxWAVE", "a/long.wav": sound(5, 16_000 * 3), "a/none.wav": b""}
    examples = read(tmp_path, "a.zip", zipped(files), limits=DatasetLimits(audio_seconds=2))
    assert examples.info.kind is DatasetKind.AUDIO_FOLDER
    assert examples[0].instance == AudioInstance(files["a/0.wav"])
    assert [s.reason for s in examples.info.report.skipped] == [
        "is no WAV, FLAC or OGG sound, or it is broken",
        "is longer than 2 seconds",
        "is empty",
    ]


def test_sounds_and_images_together_need_a_kind(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {f"{c}/{i}.wav": sound(i + 10 * (c == "b")) for c in "ab" for i in range(2)}
    assert refusal(tmp_path, files).field == "header.kind"
    assert read(tmp_path, "a.zip", zipped(files), DatasetKind.AUDIO_FOLDER).info.labels == ("a", "b")
    assert read(tmp_path, "a.zip", zipped(files), DatasetKind.IMAGE_FOLDER).info.labels == ("cat", "dog")


# ── with a table ──────────────────────────────────────────────────────────────────────────────────────────────────


def houses(count: int = 20) -> dict[str, bytes]:
    files = {f"pictures/{i}.jpg": picture(i) for i in range(count)}
    rows = [
        {"image": f"{i}.jpg", "rooms": i % 5, "town": ("Ulm", "Bonn")[i % 2], "price": 1000.0 + i} for i in range(count)
    ]
    return files | {"houses.jsonl": lines(rows)}


def test_images_with_a_table_are_read(tmp_path: Path) -> None:
    files = houses()
    examples = read(tmp_path, "a.zip", zipped(files), target="price")
    info = examples.info
    assert info.kind is DatasetKind.IMAGE_TABLE
    assert (info.columns.image, info.columns.target, info.labels) == ("image", "price", ())
    assert [(c.name, c.kind, c.categories) for c in info.inputs] == [
        ("rooms", "number", ()),
        ("town", "category", ("Bonn", "Ulm")),
    ]
    assert examples[7].target == 1007.0
    assert examples[7].instance == RecordInstance(
        {"image": ImageInstance(files["pictures/7.jpg"]), "row": RowInstance({"rooms": 2.0, "town": "Bonn"})}
    )
    assert np.isclose(info.report.target_statistics["mean"], 1009.5)
    assert {"min", "max", "std"} <= set(info.report.target_statistics)


def test_rows_with_missing_or_broken_images_are_skipped(tmp_path: Path) -> None:
    files = houses()
    del files["pictures/3.jpg"]
    files["pictures/4.jpg"] = b"no picture"
    report = read(tmp_path, "a.zip", zipped(files), target="price").info.report
    assert [(s.file, s.row, s.reason) for s in report.skipped] == [
        ("houses.jsonl", 4, "there is no file '3.jpg'"),
        ("houses.jsonl", 5, "'pictures/4.jpg' is no JPEG, PNG or WebP picture"),
    ]


def test_table_cannot_name_files_outside_the_archive(tmp_path: Path) -> None:
    rows = [{"image": name, "label": "ab"[i % 2]} for i, name in enumerate(["/etc/passwd", "../x.jpg", "", "q.jpg"])]
    rows += [{"image": f"{i}.jpg", "label": "ab"[i % 2]} for i in range(4)]
    files = {f"{i}.jpg": picture(i) for i in range(4)} | {"t.jsonl": lines(rows)}
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert (report.examples, report.skipped_count) == (4, 4)


def test_table_of_file_and_label_is_an_image_folder(tmp_path: Path) -> None:
    files = {f"{i}.jpg": picture(i) for i in range(6)}
    table = "file_name,label,split\n" + "".join(
        f"{i}.jpg,{'ab'[i % 2]},{'train' if i < 4 else 'test'}\n" for i in range(6)
    )
    examples = read(tmp_path, "a.zip", zipped({**files, "labels.csv": table}))
    assert examples.info.kind is DatasetKind.IMAGE_FOLDER
    assert examples.info.labels == ("a", "b")
    assert examples.info.report.split_counts == {"test": 2, "train": 4}


def test_missing_target_column_is_named_with_the_existing_ones(tmp_path: Path) -> None:
    error = refusal(tmp_path, houses(), target="prise")
    assert error.field == "header.columns.target"
    assert "did you mean 'price'?" in error.problem
    assert refusal(tmp_path, houses()).field == "header.columns.target", "and none is guessed among several"


def test_kind_without_its_files_is_refused(tmp_path: Path) -> None:
    for kind in DatasetKind:
        assert refusal(tmp_path, {"README.rst": b"hello"}, kind=kind).field == "data"
    assert refusal(tmp_path, photos({"a": 2, "b": 2}), kind=DatasetKind.IMAGE_TABLE).field == "data"
