"""A folder walk follows links inside of the folder, and names what it leaves out."""

import zipfile
from pathlib import Path

import pytest

from service.client.upload import opened, silent
from service.folder_walk import look_into
from tests.support.datasets.dataset_files import photos, read


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


def test_folder_walk_follows_links_inside_the_folder(pets: Path) -> None:
    (pets / "cat" / "2.jpg").symlink_to("../dog/0.jpg")
    (pets / "hound").symlink_to("dog", target_is_directory=True)
    (pets / "wolf").symlink_to(pets / "dog", target_is_directory=True)
    names, left_out = sent(pets)
    assert names == [f"{c}/{i}.jpg" for c, n in (("cat", 3), ("dog", 2), ("hound", 2), ("wolf", 2)) for i in range(n)]
    assert not left_out


def test_folder_walk_names_links_outside_dangling_or_circular(pets: Path, tmp_path: Path) -> None:
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


def test_folder_walk_of_a_folder_reached_by_a_link_lists_it(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pets)
    assert len(sent(tmp_path / "link")[0]) == 4


def test_folder_walk_of_mutual_links_ends(tmp_path: Path) -> None:
    folder = tmp_path / "maze"
    for name in "abcdefg":
        (folder / name).mkdir(parents=True)
    for name in "abcdefg":
        for other in "abcdefg":
            (folder / name / f"to_{other}").symlink_to(f"../{other}")
    assert not look_into(folder).files


def test_folder_walk_names_special_and_unreadable_files(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_folder_walk_decodes_names_that_are_not_utf8(tmp_path: Path) -> None:
    import os

    folder = os.fsencode(tmp_path / "pets")
    for place, content in ((b"V\xf6gel/1.jpg", b"1"), (b"V\xf6gel/2.jpg", b"2"), ("Vögel/2.jpg".encode(), b"other")):
        path = folder + b"/" + place
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - bytes
        Path(os.fsdecode(path)).write_bytes(content)
    names, left_out = sent(tmp_path / "pets")
    assert names == ["Vögel/1.jpg", "Vögel/2.jpg"]
    assert left_out == {"Vögel/2.jpg": "has the name of another file once it is written in UTF-8"}


def test_folder_walk_reports_an_empty_folder(pets: Path, tmp_path: Path) -> None:
    (pets / "bird").mkdir()
    with opened(pets, silent) as source:
        report = read(tmp_path, source.file_name, source.path.read_bytes()).info.report
    assert "nothing is in folder 'bird'" in report.warnings
