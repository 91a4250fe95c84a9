"""Folders and tables in archives with common names: any spelling of splits, repeated classes, ids, paths on other disks."""

import io
import tarfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import soundfile

from service.datasets.dataset import DatasetInfo, DatasetKind
from service.datasets.readers.media.folder_layout import folder_labels
from service.errors import InvalidInput
from tests.support.datasets.dataset_files import (
    photos,
    picture,
    read,
    sound,
    tarred,
    zipped,
)

CLASSES = ("cat", "dog")


def parts(*folders: str, each: int = 3) -> dict[str, bytes]:
    """Different images of cats and dogs below each folder."""
    names = [f"{folder}/{label}/{i}.jpg" for folder in folders for label in CLASSES for i in range(each)]
    return {name: picture(i) for i, name in enumerate(names)}


def info_of(tmp_path: Path, files: dict[str, bytes] | dict[str, str], **how: object) -> DatasetInfo:
    return read(tmp_path, "a.zip", zipped(files), **how).info  # type: ignore[arg-type]


def said(info: DatasetInfo, what: str) -> str:
    return next((line for line in info.report.inferred if line.startswith(f"{what}: ")), "")


def refusal(tmp_path: Path, data: bytes, file_name: str = "a.zip") -> str:
    with pytest.raises(InvalidInput) as caught:
        read(tmp_path, file_name, data)
    assert str(tmp_path) not in caught.value.message
    return caught.value.problem


# ── splits ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("train", "eval"),
        ("train", "evaluation_data"),
        ("train", "holdout"),
        ("train", "hold out"),
        ("train", "held-out"),
        ("trainval", "test"),
        ("train_val", "test"),
        ("Training", "Testdaten"),
        ("Trainingsdaten", "Testdaten 2024"),
        ("entraînement", "essai"),
        ("entrenamiento", "prueba"),
        ("news-bydate-train", "news-bydate-test"),
        ("train", "never heard of"),
        ("train/images", "never heard of/images"),
    ],
)
def test_folders_beside_a_train_folder_are_no_classes(tmp_path: Path, train: str, held_out: str) -> None:
    info = info_of(
        tmp_path,
        parts(train)
        | {
            f"{held_out}/{c}/{i}.jpg": picture(90 + 9 * i + len(c) * k)
            for k, c in enumerate(CLASSES, 1)
            for i in range(2)
        },
    )
    assert info.labels == CLASSES
    assert info.report.split_counts == {"test": 4, "train": 6}
    assert said(info, "split").startswith("split: 'test', 'train'")


def test_folder_of_unknown_name_beside_train_is_reported_as_test(tmp_path: Path) -> None:
    assert said(info_of(tmp_path, parts("train", "other")), "folder 'other'").startswith(
        "folder 'other': test, because"
    )


def test_folder_of_unknown_name_beside_train_and_test_is_for_training(tmp_path: Path) -> None:
    info = info_of(tmp_path, parts("train", "test", "extra"))
    assert (info.labels, info.report.split_counts) == (CLASSES, {"test": 6, "train": 12})


def test_eval_folder_beside_a_test_folder_is_for_validation(tmp_path: Path) -> None:
    assert info_of(tmp_path, parts("train", "eval", "test")).report.split_counts == {
        "test": 6,
        "train": 6,
        "validation": 6,
    }


def test_train_and_eval_folders_without_classes_are_refused(tmp_path: Path) -> None:
    files = {f"{split}/{i}.jpg": picture(i + 50 * k) for k, split in enumerate(("train", "eval")) for i in range(4)}
    assert "'eval', 'train' are folders of splits, and there is none below for each class" in refusal(
        tmp_path, zipped(files)
    )


def test_text_folders_for_training_and_evaluation_are_no_classes(tmp_path: Path) -> None:
    files = {
        f"{s}/{c}/{i}.txt": f"text {s} {c} {i}" for s in ("train", "eval") for c in ("neg", "pos") for i in range(3)
    }
    info = info_of(tmp_path, files)
    assert (info.kind, info.labels) == (DatasetKind.TEXT, ("neg", "pos"))
    assert info.report.split_counts == {"test": 6, "train": 6}


def test_class_named_train_beside_others_stays_a_class(tmp_path: Path) -> None:
    assert info_of(tmp_path, photos({"train": 3, "plane": 3})).labels == ("plane", "train")
    files = {f"{s}/{name}": data for s in ("train", "test") for name, data in photos({"train": 3, "plane": 3}).items()}
    assert info_of(tmp_path, files).labels == ("plane", "train")


# ── classes that are repeated ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("above", [("fold1", "fold2"), ("2023", "2024", "2025"), ("part-1/images", "part-2/images")])
def test_numbered_folders_with_the_same_classes_are_none_and_reported(tmp_path: Path, above: tuple[str, ...]) -> None:
    info = info_of(tmp_path, parts(*above))
    assert info.labels == CLASSES
    firsts = ", ".join(repr(folder.partition("/")[0]) for folder in sorted(above))
    assert f"the folders above, {firsts}, all contain the same ones and are ignored" in said(info, "classes")


@pytest.mark.parametrize("above", [("kaggle", "own"), ("apple", "pear")])
def test_named_folders_are_classes_and_deeper_ones_are_warned_of(tmp_path: Path, above: tuple[str, ...]) -> None:
    info = info_of(tmp_path, parts(*above))
    assert info.labels == above
    assert "folders below those of the classes do not count: 'cat', 'dog'" in " ".join(info.report.warnings)


def test_splits_below_repeated_folders_are_splits(tmp_path: Path) -> None:
    info = info_of(tmp_path, parts("fold1/train", "fold1/test", "fold2/train", "fold2/test"))
    assert (info.labels, info.report.split_counts) == (CLASSES, {"test": 12, "train": 12})


@pytest.mark.parametrize(
    "below", [("2023", "2024"), ("batch1", "batch2"), ("images", "masks"), ("original", "augmented")]
)
def test_folders_that_are_parts_of_a_class_are_no_classes(tmp_path: Path, below: tuple[str, ...]) -> None:
    files = [f"{label}/{part}/{i}.jpg" for label in CLASSES for part in below for i in range(3)]
    info = info_of(tmp_path, {name: picture(i) for i, name in enumerate(files)})
    assert info.labels == CLASSES
    names = ", ".join(map(repr, sorted(below)))
    assert f"folders below those of the classes do not count: {names}" in info.report.warnings


def test_different_folders_below_class_folders_are_warned_of(tmp_path: Path) -> None:
    files = photos({"mammal/cat": 3, "mammal/dog": 3, "bird/owl": 3, "bird/kite": 3})
    info = info_of(tmp_path, files)
    assert info.labels == ("bird", "mammal")
    assert "folders below those of the classes do not count: 'cat', 'dog', 'kite', 'owl'" in info.report.warnings


# ── tables that name files ────────────────────────────────────────────────────────────────────────────────────────


def table_of(cells: list[str], column: str = "id", target: str = "breed") -> str:
    return f"{column},{target}\n" + "".join(f"{cell},{('pug', 'beagle')[i % 2]}\n" for i, cell in enumerate(cells))


def test_table_in_each_split_folder_is_refused_with_advice(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{s}/{i}.jpg": picture(i + 9 * k) for k, s in enumerate(("train", "test")) for i in range(4)
    }
    files |= {
        f"{s}/metadata.csv": table_of([f"{i}.jpg" for i in range(4)], "file_name", "label") for s in ("train", "test")
    }
    assert "holds several tables, 'test/metadata.csv', 'train/metadata.csv'; " in refusal(tmp_path, zipped(files))


# ── what was taken for granted is said ────────────────────────────────────────────────────────────────────────────


def test_archive_reports_kind_classes_and_splits(tmp_path: Path) -> None:
    texts = {f"{c}/{i}.txt": f"text {c} {i}" for c in ("neg", "pos") for i in range(3)}
    plain = {f"{i}.txt": f"a long text {i} " * 400 for i in range(3)}
    sounds = {f"{c}/{i}.wav": sound(i + 9 * k) for k, c in enumerate("ab") for i in range(3)}
    table: dict[str, bytes | str] = {f"{i}.jpg": picture(i) for i in range(12)}
    table["t.csv"] = "file,rooms,price\n" + "".join(f"{i}.jpg,{i},{i * 1000.5}\n" for i in range(12))
    pairs = (
        (photos({"cat": 3, "dog": 3}), "image_folder", {}),
        (sounds, "audio_folder", {}),
        (texts, "text", {}),
        (plain, "plain_text", {}),
        (table, "image_table", {"target": "price"}),
    )
    for files, kind, how in pairs:
        info = info_of(tmp_path, files, **how)  # type: ignore[arg-type]
        assert info.kind == kind
        assert said(info, "kind").startswith(f"kind: {kind}, because ")
        assert said(info, "split")
        assert bool(said(info, "classes")) == (kind not in ("plain_text", "image_table"))
        again = info_of(tmp_path, files, kind=DatasetKind(kind), **how)  # type: ignore[arg-type]
        assert not said(again, "kind"), "what was said is not guessed"


# ── files that are something else ─────────────────────────────────────────────────────────────────────────────────

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 123456\n"
XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("a.zip", tarred({"a.txt": b"text"}, "w"), "a tar; call it .tar"),
        ("a.zip", POINTER, "Git LFS"),
        ("a.tar.gz", POINTER, "Git LFS"),
        ("a.csv", POINTER, "Git LFS"),
        ("a.txt", POINTER, "Git LFS"),
        ("a.zip", XML, "an XML file; perhaps what a server answered"),
        ("a.tar", XML, "an XML file; perhaps what a server answered"),
        ("a.zip", b"<!DOCTYPE html><html>not found</html>", "a web page (HTML); perhaps"),
        ("a.zip", b'{"message": "Not Found"}', "broken or cut off: it is text, perhaps what a server answered"),
        ("a.zip", picture(1), "a picture; pack the files into a .zip"),
        ("a.csv", tarred({"a.txt": b"text"}, "w"), "a tar archive: call it .tar"),
    ],
)
def test_file_of_another_type_is_named(tmp_path: Path, name: str, data: bytes, named: str) -> None:
    assert named in refusal(tmp_path, data, name)


def test_truncated_zip_is_named(tmp_path: Path) -> None:
    assert "broken or cut off" in refusal(tmp_path, zipped(photos({"cat": 3, "dog": 3}))[:-40])
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = 5000
        archive.addfile(member, io.BytesIO(b"x" * 5000))
    assert "broken or cut off" in refusal(tmp_path, whole.getvalue()[:2000], "a.tar")


def test_texts_without_a_suffix_are_texts_if_nothing_else_is_there(tmp_path: Path) -> None:
    files = {
        f"20news/{s}-{c}/x.{i}": f"From: {c} {i}\n\nhello"
        for s in ("alt",)
        for c in ("autos", "space")
        for i in range(3)
    }
    files |= {f"20news/{c}/{100 + i}": f"Subject: {c} {i}" for c in ("alt-autos", "alt-space") for i in range(3)}
    info = info_of(tmp_path, files)
    assert (info.kind, info.labels, info.report.examples) == (DatasetKind.TEXT, ("alt-autos", "alt-space"), 12)
    beside = info_of(tmp_path, photos({"cat": 3, "dog": 3}) | {"LICENSE": b"free"})
    assert (beside.kind, beside.report.skipped_count) == (DatasetKind.IMAGE_FOLDER, 1)


def test_texts_with_another_suffix_are_refused_with_the_expected_one(tmp_path: Path) -> None:
    assert "only files such as 'a/0.html'; texts are called .txt" in refusal(tmp_path, zipped({"a/0.html": "<p>hello"}))


@pytest.mark.parametrize(
    ("start", "form"),
    [
        (b"ID3\x04\0\0", "MP3"),
        (b"\xff\xfb\x90\0", "MP3"),
        (b"\xff\xf1\x50\x80", "AAC"),
        (b"\0\0\0\x20ftypM4A ", "M4A or MP4"),
        (b"#!AMR\n", "AMR"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
        (b"FORM\0\0\0\x40AIFF", "AIFF"),
        (b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    ],
)
def test_sounds_in_unsupported_formats_are_named_with_advice(tmp_path: Path, start: bytes, form: str) -> None:
    files = {f"{c}/{i}.wav": sound(i + 9 * k) for k, c in enumerate("ab") for i in range(3)}
    report = info_of(tmp_path, files | {"a/x.m4a": start + b"\1" * 90}).report
    assert [s.reason for s in report.skipped] == [f"is a sound of format {form}; convert it to WAV, FLAC or OGG"]


def test_ogg_truncated_before_its_first_sample_is_named(tmp_path: Path) -> None:
    whole = io.BytesIO()
    soundfile.write(whole, np.random.default_rng(1).uniform(-0.5, 0.5, 16_000), 16_000, format="OGG")
    files = {f"{c}/{i}.wav": sound(i + 9 * k) for k, c in enumerate("ab") for i in range(3)}
    head = whole.getvalue().index(b"OggS", whole.getvalue().index(b"OggS", 4) + 4)
    report = info_of(tmp_path, files | {"a/x.ogg": whole.getvalue()[: head + 40]}).report
    assert [s.reason for s in report.skipped] == ["is a cut off sound"]


@pytest.mark.parametrize("name", ["a/x.jpg", "a/x.wav"])
def test_git_lfs_pointers_among_the_files_are_named(tmp_path: Path, name: str) -> None:
    one = sound if name.endswith("wav") else picture
    files = {f"{c}/{i}{name[-4:]}": one(i + 9 * k) for k, c in enumerate("ab") for i in range(3)}
    assert "Git LFS" in info_of(tmp_path, files | {name: POINTER}).report.skipped[0].reason


def test_every_file_has_a_label_in_any_nesting() -> None:
    paths = [PurePosixPath(name) for name in ("1.jpg", "a/2.jpg", "a/b/3.jpg", "train/4.jpg", "train/b/c/5.jpg")]
    assert len(folder_labels(paths)) == len(paths)
