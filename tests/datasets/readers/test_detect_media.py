"""Archives and folders as people and programs make them are read as intended, or refused with a clear error."""

import csv
import io
import unicodedata
import zipfile
from pathlib import Path

import pytest

from service.datasets.dataset import DatasetKind
from service.datasets.readers.file_types import file_type
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import (
    photos,
    picture,
    read,
    sound,
    tarred,
    zipped,
)


def refusal(tmp_path: Path, data: bytes, file_name: str = "a.zip", **how: object) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, file_name, data, **how)  # type: ignore[arg-type]
    assert str(tmp_path) not in caught.value.message
    return caught.value


# ── folders ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "names",
    [
        ("train/{}", "test/{}"),
        ("train/train/{}", "test/test/{}"),
        ("data/Training Set/{}", "data/Test Set/{}"),
        ("train/images/{}", "val/images/{}"),
        ("train/{}",),
    ],
)
def test_split_folders_without_class_folders_are_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = {name.format(f"{i}.jpg"): picture(i + 50 * k) for k, name in enumerate(names) for i in range(4)}
    error = refusal(tmp_path, zipped(files))
    assert error.field == "data"
    assert "of splits, and there is none below for each class; put the files into train/CLASS/" in error.problem


def test_text_split_folders_without_class_folders_are_refused_unless_read_as_plain_text(tmp_path: Path) -> None:
    files = {f"{split}/{i}.txt": f"{split} {i} " * 200 for split in ("train", "test") for i in range(3)}
    assert "of splits" in refusal(tmp_path, zipped(files)).problem
    assert "of splits" in refusal(tmp_path, zipped(files), kind=DatasetKind.TEXT).problem
    assert read(tmp_path, "a.zip", zipped(files), DatasetKind.PLAIN_TEXT).info.report.examples


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set/training_set", "test_set/test_set"),
        ("train", "test"),
        ("Training", "Testing"),
        ("train_data", "test_data"),
        ("trainset", "testset"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("dataset/images/train", "dataset/images/test"),
        ("archive/train", "archive/test/images"),
        ("train/images", "test"),
        ("train", "test/elsewhere"),
        ("train-2024", "test-2024"),
    ],
)
def test_folders_named_after_splits_in_any_spelling_are_no_classes(tmp_path: Path, train: str, test: str) -> None:
    files = photos({"cat": 3, "dog": 3}, above=f"{train}/")
    files |= {f"{test}/{c}/{i}.jpg": picture(200 + i + 10 * k) for k, c in enumerate(("cat", "dog")) for i in range(2)}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.labels == ("cat", "dog")
    assert info.report.split_counts == {"test": 4, "train": 6}


def test_splits_below_class_folders_are_splits(tmp_path: Path) -> None:
    files = photos({"cat/train": 3, "dog/train": 3, "cat/test": 2, "dog/test": 2})
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.labels == ("cat", "dog")
    assert info.report.split_counts == {"test": 4, "train": 6}


def test_class_folder_with_a_split_name_among_others_is_a_class(tmp_path: Path) -> None:
    assert read(tmp_path, "a.zip", zipped(photos({"train": 2, "bus": 2, "car": 2}))).info.labels == (
        "bus",
        "car",
        "train",
    )


def test_images_without_class_beside_split_folders_are_named(tmp_path: Path) -> None:
    files = photos({"cat": 3, "dog": 3}, above="train/") | {"test/1.jpg": picture(90)}
    files |= {f"validation/{c}/1.jpg": picture(95 + k) for k, c in enumerate(("cat", "dog"))} | {
        "extra/1.jpg": picture(99)
    }
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert [(s.file, s.reason) for s in report.skipped] == [
        ("extra/1.jpg", "lies beside the folders of the splits, so its class is not known"),
        ("test/1.jpg", "lies in no folder below that of its split, so its class is not known"),
    ]
    assert report.input_count == report.examples + report.skipped_count == 10


def test_file_beside_the_shared_folder_does_not_make_it_a_class(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}, above="pets/") | {"cover.jpg": picture(80)}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.labels == ("cat", "dog")
    assert info.report.skipped[0].file == "cover.jpg"


def table(rows: list[tuple[str, object]], *header: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue()


def test_class_folders_take_precedence_over_a_table_without_file_names(tmp_path: Path) -> None:
    files = photos({"cat": 4, "dog": 4})
    metadata = table([(name, 100 + i) for i, name in enumerate(files)], "file_name", "width")
    info = read(tmp_path, "a.zip", zipped({**files, "metadata.csv": metadata})).info
    assert (info.kind, info.labels) == (DatasetKind.IMAGE_FOLDER, ("cat", "dog"))
    assert info.report.skipped[0].file == "metadata.csv"
    (line,) = (line for line in info.report.inferred if line.startswith("classes"))
    assert "'cat', 'dog'" in line
    assert "the table beside them is not used" in line
    wide = read(tmp_path, "a.zip", zipped({**files, "metadata.csv": metadata * 2}), target="width").info
    assert wide.columns.target == "width"


def test_table_that_names_classes_takes_precedence_over_folders(tmp_path: Path) -> None:
    files = photos({"first": 4, "second": 4})
    labels = table([(name, "ab"[i % 2]) for i, name in enumerate(files)], "file_name", "label")
    info = read(tmp_path, "a.zip", zipped({**files, "labels.csv": labels})).info
    assert info.labels == ("a", "b")
    assert any(line.startswith("target") and "label" in line for line in info.report.inferred)


def test_split_folders_count_beside_a_table_that_names_classes(tmp_path: Path) -> None:
    files = {f"{split}/{i}.jpg": picture(i + 30 * (split == "test")) for split in ("train", "test") for i in range(4)}
    labels = table([(name, "ab"[i % 2]) for i, name in enumerate(files)], "file_name", "label")
    info = read(tmp_path, "a.zip", zipped({**files, "labels.csv": labels})).info
    assert info.report.split_counts == {"test": 4, "train": 4}


@pytest.mark.parametrize("backslashes", [False, True])
@pytest.mark.parametrize(("in_table", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("alone", [False, True])
def test_table_finds_files_with_other_unicode_composition(
    tmp_path: Path, in_table: str, on_disk: str, alone: bool, backslashes: bool
) -> None:
    files = {unicodedata.normalize(on_disk, f"images/é{i}.jpg"): picture(i) for i in range(8)}
    written = [f"é{i}.jpg" if alone else f"images/é{i}.jpg" for i in range(8)]
    written = [name.replace("/", "\\") if backslashes else name for name in written]
    rows = [(unicodedata.normalize(in_table, name), "ab"[i % 2]) for i, name in enumerate(written)]
    info = read(tmp_path, "a.zip", zipped({**files, "labels.csv": table(rows, "path", "label")})).info
    assert (info.report.examples, info.report.skipped_count, info.report.input_count) == (8, 0, 8)


def test_table_finds_files_in_another_case_if_unambiguous(tmp_path: Path) -> None:
    files = {f"IMG_{i}.JPG": picture(i) for i in range(6)} | {"Twice.jpg": picture(7), "TWICE.jpg": picture(8)}
    rows = [(f"img_{i}.jpg", "ab"[i % 2]) for i in range(6)] + [("twice.jpg", "a"), ("Twice.jpg", "b")]
    report = read(tmp_path, "a.zip", zipped({**files, "labels.csv": table(rows, "path", "label")})).info.report
    assert report.examples == 7
    assert [(s.file, s.reason) for s in report.skipped] == [
        ("labels.csv", "there are several files called 'twice.jpg'"),
        ("TWICE.jpg", "no row of 'labels.csv' names it"),
    ]
    assert report.input_count == 9


@pytest.mark.parametrize("end", [".jfif", ".jpe", ".JPG", ".jpeg", ".webp", "", ".bin", ".dat", ".jpg_large", ".bmp"])
def test_images_without_suffix_are_detected_by_content(tmp_path: Path, end: str) -> None:
    files = {
        f"{c}/{i}{end}": picture(i + 10 * (c == "b"), "WEBP" if end == ".webp" else "JPEG")
        for c in "ab"
        for i in range(3)
    }
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert (info.kind, info.report.examples, info.report.skipped_count) == (DatasetKind.IMAGE_FOLDER, 6, 0)


@pytest.mark.parametrize("end", ["", ".snd", ".WAV", ".mp3"])
def test_sounds_without_suffix_are_detected_by_content(tmp_path: Path, end: str) -> None:
    files = {f"{c}/{i}{end}": sound(i + 10 * (c == "b")) for c in "ab" for i in range(3)}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert (info.kind, info.report.examples) == (DatasetKind.AUDIO_FOLDER, 6)


@pytest.mark.parametrize(("form", "end"), [("TIFF", ".tif"), ("BMP", ".bmp"), ("GIF", ".gif")])
def test_unsupported_image_formats_are_named_with_advice(tmp_path: Path, form: str, end: str) -> None:
    files = photos({"cat": 2, "dog": 2}) | {f"cat/x{end}": picture(9, form)}
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert skipped.reason == f"is a picture of format {form}; convert it to JPEG, PNG or WebP"


# ── archive formats ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["a.tar.xz", "a.txz", "a.tar.zst", "a.7z", "a.rar", "a.tar.bz2", "a.gz"])
def test_unsupported_archive_formats_are_named_with_advice(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"pack a \.zip|unpack it, or send a \.tar\.gz"):
        file_type(name)


@pytest.mark.parametrize(
    ("name", "start", "named"),
    [
        ("a.zip", b"Rar!\x1a\x07\x01\x00", "a RAR archive"),
        ("a.zip", b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7-Zip archive"),
        ("a.zip", b"\x1f\x8b\x08\x00", "packed by gzip; call it .tar.gz"),
        ("a.tar.gz", b"PK\x03\x04", "a zip; call it .zip"),
        ("a.tar", b"\x28\xb5\x2f\xfd", "packed by Zstandard"),
    ],
)
def test_archive_with_a_wrong_suffix_is_named(tmp_path: Path, name: str, start: bytes, named: str) -> None:
    assert named in refusal(tmp_path, start + bytes(100), name).problem


def test_zip64_archive_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in photos({"cat": 2, "dog": 2}).items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(content)
    assert read(tmp_path, "a.zip", buffer.getvalue()).info.report.examples == 4


LITTER = (
    "__MACOSX/cat/._0.jpg",
    ".DS_Store",
    "cat/._0.jpg",
    "cat/.hidden.jpg",
    ".git/config",
    "cat/Thumbs.db",
    "desktop.ini",
)


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_system_files_are_counted_under_one_reason(tmp_path: Path, form: str) -> None:
    files = photos({"cat": 2, "dog": 2}) | dict.fromkeys(LITTER, b"x")
    report = read(
        tmp_path, "a.zip" if form == "zip" else "a.tgz", zipped(files) if form == "zip" else tarred(files)
    ).info.report
    assert report.skipped_reasons == {"is hidden, or was added by an operating system": len(LITTER)}
    assert (report.examples, report.input_count) == (4, 4 + len(LITTER))
    assert not any("left out" in warning for warning in report.warnings)


def test_unused_files_are_counted_by_suffix(tmp_path: Path) -> None:
    files = (
        photos({"cat": 2, "dog": 2})
        | {f"cat/{i}.txt": b"x" for i in range(10)}
        | {"dog/1.json": b"{}", "dog/2.json": b"{}", "LICENSE": b""}
    )
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert "passed over 13 files without a picture: .txt 10, .json 2, no ending 1" in report.warnings
    assert report.skipped_reasons == {
        "is no picture (.txt)": 10,
        "is no picture (.json)": 2,
        "is no picture (no ending)": 1,
    }
    assert report.input_count == 17


def test_empty_folders_are_reported(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"bird/": b""}
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert "nothing is in folder 'bird'" in report.warnings
    assert report.input_count == 4
