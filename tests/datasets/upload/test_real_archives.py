"""Archives and folders as people and their programs make them: read as they were meant, or refused with a sentence."""

import binascii
import csv
import io
import struct
import unicodedata
import zipfile
from pathlib import Path

import pytest

from service.client.upload import opened, silent
from service.datasets.dataset import DatasetKind
from service.datasets.readers.file_types import file_type
from service.errors import InvalidInput
from service.folder_walk import look_into
from tests.support.dataset_files import (
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
def test_folders_of_splits_without_classes_are_refused_with_a_sentence(tmp_path: Path, names: tuple[str, ...]) -> None:
    files = {name.format(f"{i}.jpg"): picture(i + 50 * k) for k, name in enumerate(names) for i in range(4)}
    error = refusal(tmp_path, zipped(files))
    assert error.field == "data"
    assert "of splits, and there is none below for each class; put the files into train/CLASS/" in error.problem


def test_texts_in_folders_of_splits_without_classes_are_refused_unless_they_are_one_text(tmp_path: Path) -> None:
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
def test_folders_called_as_splits_in_any_way_are_no_classes(tmp_path: Path, train: str, test: str) -> None:
    files = photos({"cat": 3, "dog": 3}, above=f"{train}/")
    files |= {f"{test}/{c}/{i}.jpg": picture(200 + i + 10 * k) for k, c in enumerate(("cat", "dog")) for i in range(2)}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.labels == ("cat", "dog")
    assert info.report.split_counts == {"test": 4, "train": 6}


def test_splits_below_the_classes_are_splits(tmp_path: Path) -> None:
    files = photos({"cat/train": 3, "dog/train": 3, "cat/test": 2, "dog/test": 2})
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.labels == ("cat", "dog")
    assert info.report.split_counts == {"test": 4, "train": 6}


def test_a_class_called_as_a_split_among_others_is_a_class(tmp_path: Path) -> None:
    assert read(tmp_path, "a.zip", zipped(photos({"train": 2, "bus": 2, "car": 2}))).info.labels == (
        "bus",
        "car",
        "train",
    )


def test_pictures_without_class_beside_those_of_a_split_are_named(tmp_path: Path) -> None:
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


def test_a_file_beside_the_shared_folder_does_not_make_it_a_class(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}, above="pets/") | {"cover.jpg": picture(80)}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert info.labels == ("cat", "dog")
    assert info.report.skipped[0].file == "cover.jpg"


def table(rows: list[tuple[str, object]], *header: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([header, *rows])
    return buffer.getvalue()


def test_folders_of_classes_win_over_a_table_that_names_no_class(tmp_path: Path) -> None:
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


def test_a_table_that_names_classes_wins_over_folders(tmp_path: Path) -> None:
    files = photos({"first": 4, "second": 4})
    labels = table([(name, "ab"[i % 2]) for i, name in enumerate(files)], "file_name", "label")
    info = read(tmp_path, "a.zip", zipped({**files, "labels.csv": labels})).info
    assert info.labels == ("a", "b")
    assert any(line.startswith("target") and "label" in line for line in info.report.inferred)


def test_folders_of_splits_count_where_a_table_names_the_classes(tmp_path: Path) -> None:
    files = {f"{split}/{i}.jpg": picture(i + 30 * (split == "test")) for split in ("train", "test") for i in range(4)}
    labels = table([(name, "ab"[i % 2]) for i, name in enumerate(files)], "file_name", "label")
    info = read(tmp_path, "a.zip", zipped({**files, "labels.csv": labels})).info
    assert info.report.split_counts == {"test": 4, "train": 4}


# ── names ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def renamed(files: dict[str, bytes], raw: dict[str, bytes], extra: dict[str, bytes] | None = None) -> bytes:
    """A zip whose names are such bytes, without the flag that says which encoding they have."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, (name, content) in enumerate(files.items()):
            stand_in = str(i) * len(raw.get(name, name.encode()))
            member = zipfile.ZipInfo(stand_in)
            member.extra = (extra or {}).get(name, b"")
            archive.writestr(member, content)
    data = bytearray(buffer.getvalue())
    at = 0
    for mark, skip, lengths in ((b"PK\x03\x04", 30, 26), (b"PK\x01\x02", 46, 28)):
        at = 0
        for name in files:
            at = data.index(mark, at)
            new = raw.get(name, name.encode())
            assert struct.unpack_from("<H", data, at + lengths)[0] == len(new)
            data[at + skip : at + skip + len(new)] = new
            at += 4
    return bytes(data)


FILES = {"Vögel/0.jpg": picture(1), "Vögel/1.jpg": picture(2), "dog/0.jpg": picture(3), "dog/1.jpg": picture(4)}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_of_a_zip_that_are_utf8_without_the_flag_are_read_as_such(tmp_path: Path, form: str) -> None:
    """As macOS packs."""
    raw = {name: unicodedata.normalize(form, name).encode() for name in FILES}
    assert read(tmp_path, "a.zip", renamed(FILES, raw)).info.labels == ("Vögel", "dog")


def test_names_of_a_zip_in_its_own_code_page_are_read_as_such(tmp_path: Path) -> None:
    assert read(tmp_path, "a.zip", renamed(FILES, {n: n.encode("cp437") for n in FILES})).info.labels == (
        "Vögel",
        "dog",
    )


def test_the_unicode_name_of_info_zip_counts(tmp_path: Path) -> None:
    files = {"Птицы/0.jpg": picture(1), "Птицы/1.jpg": picture(2), "dog/0.jpg": picture(3), "dog/1.jpg": picture(4)}
    raw = {name: name.encode("cp866") for name in files}
    extra = {}
    for name, old in raw.items():
        body = b"\x01" + struct.pack("<I", binascii.crc32(old)) + name.encode()
        extra[name] = struct.pack("<HH", 0x7075, len(body)) + body
    assert read(tmp_path, "a.zip", renamed(files, raw, extra)).info.labels == ("dog", "Птицы")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_of_a_tar_are_read_in_either_encoding(tmp_path: Path, encoding: str) -> None:
    files = {name.encode(encoding).decode("utf-8", "surrogateescape"): content for name, content in FILES.items()}
    buffer = io.BytesIO()
    import tarfile

    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert read(tmp_path, "a.tar", buffer.getvalue()).info.labels == ("Vögel", "dog")


@pytest.mark.parametrize("form", ["zip", "tar"])
def test_backslashes_between_folders_are_read(tmp_path: Path, form: str) -> None:
    files = {name.replace("/", "\\"): content for name, content in photos({"cat": 3, "dog": 3}).items()}
    if form == "zip":
        files = {"cat\\": b"", **files}
    data = zipped(files) if form == "zip" else tarred(files)
    report = read(tmp_path, f"a.{form}.gz" if form == "tar" else "a.zip", data).info.report
    assert report.class_counts == {"cat": 3, "dog": 3}


@pytest.mark.parametrize("backslashes", [False, True])
@pytest.mark.parametrize(("in_table", "on_disk"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("alone", [False, True])
def test_a_table_finds_its_files_however_their_letters_are_composed(
    tmp_path: Path, in_table: str, on_disk: str, alone: bool, backslashes: bool
) -> None:
    files = {unicodedata.normalize(on_disk, f"images/é{i}.jpg"): picture(i) for i in range(8)}
    written = [f"é{i}.jpg" if alone else f"images/é{i}.jpg" for i in range(8)]
    written = [name.replace("/", "\\") if backslashes else name for name in written]
    rows = [(unicodedata.normalize(in_table, name), "ab"[i % 2]) for i, name in enumerate(written)]
    info = read(tmp_path, "a.zip", zipped({**files, "labels.csv": table(rows, "path", "label")})).info
    assert (info.report.examples, info.report.skipped_count, info.report.input_count) == (8, 0, 8)


def test_a_table_finds_its_files_whatever_the_case_where_there_is_one(tmp_path: Path) -> None:
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
def test_pictures_are_known_by_their_content(tmp_path: Path, end: str) -> None:
    files = {
        f"{c}/{i}{end}": picture(i + 10 * (c == "b"), "WEBP" if end == ".webp" else "JPEG")
        for c in "ab"
        for i in range(3)
    }
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert (info.kind, info.report.examples, info.report.skipped_count) == (DatasetKind.IMAGE_FOLDER, 6, 0)


@pytest.mark.parametrize("end", ["", ".snd", ".WAV", ".mp3"])
def test_sounds_are_known_by_their_content(tmp_path: Path, end: str) -> None:
    files = {f"{c}/{i}{end}": sound(i + 10 * (c == "b")) for c in "ab" for i in range(3)}
    info = read(tmp_path, "a.zip", zipped(files)).info
    assert (info.kind, info.report.examples) == (DatasetKind.AUDIO_FOLDER, 6)


@pytest.mark.parametrize(("form", "end"), [("TIFF", ".tif"), ("BMP", ".bmp"), ("GIF", ".gif")])
def test_pictures_of_other_formats_are_named_with_the_cure(tmp_path: Path, form: str, end: str) -> None:
    files = photos({"cat": 2, "dog": 2}) | {f"cat/x{end}": picture(9, form)}
    (skipped,) = read(tmp_path, "a.zip", zipped(files)).info.report.skipped
    assert skipped.reason == f"is a picture of format {form}; convert it to JPEG, PNG or WebP"


# ── forms of archives ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["a.tar.xz", "a.txz", "a.tar.zst", "a.7z", "a.rar", "a.tar.bz2", "a.gz"])
def test_archives_that_are_not_read_are_named_with_the_cure(name: str) -> None:
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
def test_an_archive_that_is_called_wrongly_is_named(tmp_path: Path, name: str, start: bytes, named: str) -> None:
    assert named in refusal(tmp_path, start + bytes(100), name).problem


def test_a_zip64_is_read(tmp_path: Path) -> None:
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
def test_what_systems_leave_behind_is_counted_under_one_reason(tmp_path: Path, form: str) -> None:
    files = photos({"cat": 2, "dog": 2}) | dict.fromkeys(LITTER, b"x")
    report = read(
        tmp_path, "a.zip" if form == "zip" else "a.tgz", zipped(files) if form == "zip" else tarred(files)
    ).info.report
    assert report.skipped_reasons == {"is hidden, or was added by an operating system": len(LITTER)}
    assert (report.examples, report.input_count) == (4, 4 + len(LITTER))
    assert not any("left out" in warning for warning in report.warnings)


def test_files_of_other_sorts_are_counted_by_ending(tmp_path: Path) -> None:
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


def test_folders_in_which_nothing_lies_are_told_of(tmp_path: Path) -> None:
    files = photos({"cat": 2, "dog": 2}) | {"bird/": b""}
    report = read(tmp_path, "a.zip", zipped(files)).info.report
    assert "nothing is in folder 'bird'" in report.warnings
    assert report.input_count == 4


# ── folders that are sent ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for name, content in photos({"cat": 2, "dog": 2}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def sent(folder: Path) -> tuple[list[str], dict[str, str]]:
    with opened(folder, silent) as source, zipfile.ZipFile(source.path) as archive:
        return archive.namelist(), {one.name: one.reason for one in source.left_out}


def test_links_within_the_folder_are_followed(pets: Path) -> None:
    (pets / "cat" / "2.jpg").symlink_to("../dog/0.jpg")
    (pets / "hound").symlink_to("dog", target_is_directory=True)
    (pets / "wolf").symlink_to(pets / "dog", target_is_directory=True)
    names, left_out = sent(pets)
    assert names == [f"{c}/{i}.jpg" for c, n in (("cat", 3), ("dog", 2), ("hound", 2), ("wolf", 2)) for i in range(n)]
    assert not left_out


def test_links_that_lead_out_or_nowhere_or_in_circles_are_named(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "a.jpg").write_bytes(b"secret")
    (pets / "cat" / "out.jpg").symlink_to(tmp_path / "secret" / "a.jpg")
    (pets / "bird").symlink_to(tmp_path / "secret")
    (pets / "cat" / "gone.jpg").symlink_to("nowhere.jpg")
    (pets / "cat" / "self.jpg").symlink_to("self.jpg")
    (pets / "dog" / "all").symlink_to("..")
    names, left_out = sent(pets)
    assert names == ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]
    assert left_out == {
        "bird": "is a link that leads out of the folder",
        "cat/gone.jpg": "is a link that leads nowhere",
        "cat/out.jpg": "is a link that leads out of the folder",
        "cat/self.jpg": "is a link that leads nowhere",
        "dog/all": "is a link to a folder that it lies in",
    }


def test_a_folder_that_is_itself_reached_by_a_link_is_sent(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pets)
    assert len(sent(tmp_path / "link")[0]) == 4


def test_links_that_lead_to_each_other_come_to_an_end(tmp_path: Path) -> None:
    folder = tmp_path / "maze"
    for name in "abcdefg":
        (folder / name).mkdir(parents=True)
    for name in "abcdefg":
        for other in "abcdefg":
            (folder / name / f"to_{other}").symlink_to(f"../{other}")
    assert not look_into(folder).files


def test_what_is_no_file_or_cannot_be_read_is_named(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import socket

    with socket.socket(socket.AF_UNIX) as listening:
        monkeypatch.chdir(pets)
        listening.bind("cat/socket.jpg")
        os.mkfifo("cat/pipe.jpg")
        Path("cat/.hidden.jpg").write_bytes(b"x")
        Path("cat/two\nlines.jpg").write_bytes(b"x")
        real = os.open

        def denied(path: str, *how: int, **more: int) -> int:
            if str(path).endswith("dog/1.jpg"):
                raise PermissionError(13, "Permission denied", path)
            return real(path, *how, **more)

        monkeypatch.setattr("service.folder_walk.os.open", denied)
        names, left_out = sent(pets)
    assert names == ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg"]
    assert left_out == {
        "cat/.hidden.jpg": "is hidden",
        "cat/pipe.jpg": "is no regular file",
        "cat/socket.jpg": "is no regular file",
        "cat/two\nlines.jpg": "has a name with control characters; rename it",
        "dog/1.jpg": "cannot be read: permission denied",
    }


def test_names_that_are_not_utf8_are_sent_as_they_were_meant(tmp_path: Path) -> None:
    import os

    folder = os.fsencode(tmp_path / "pets")
    for place, content in ((b"V\xf6gel/1.jpg", b"1"), (b"V\xf6gel/2.jpg", b"2"), ("Vögel/2.jpg".encode(), b"other")):
        path = folder + b"/" + place
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - bytes
        Path(os.fsdecode(path)).write_bytes(content)
    names, left_out = sent(tmp_path / "pets")
    assert names == ["Vögel/1.jpg", "Vögel/2.jpg"]
    assert left_out == {"Vögel/2.jpg": "has the name of another file once it is written in UTF-8"}


def test_an_empty_folder_is_sent_so_that_the_server_tells_of_it(pets: Path, tmp_path: Path) -> None:
    (pets / "bird").mkdir()
    with opened(pets, silent) as source:
        report = read(tmp_path, source.file_name, source.path.read_bytes()).info.report
    assert "nothing is in folder 'bird'" in report.warnings
