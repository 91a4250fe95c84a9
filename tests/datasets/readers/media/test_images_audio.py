"""Images and sounds come in class folders, or with a table that names them."""

from pathlib import Path

import numpy as np
import pytest

from service.datasets.dataset import DatasetKind
from service.datasets.dataset_limits import DatasetLimits
from service.errors import InvalidInput
from service.types import AudioInstance, ImageInstance, RecordInstance, RowInstance
from tests.support.datasets.dataset_files import (
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


def test_image_outside_of_all_folders_has_no_class(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"x.jpg": picture(77)}
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert (skipped.file, skipped.reason) == ("x.jpg", "lies in no folder, so its class is not known")


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
