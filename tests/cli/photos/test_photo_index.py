"""The file of an index: for one folder, for its user alone, and never another program's."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from service.cli.photos.errors import PhotosError
from service.cli.photos.photo_index import existing_index, index_file, writable_index
from tests.support.photos.album import Album
from tests.support.photos.fake_client import photo


def test_index_is_kept_by_the_folders_real_path_for_its_user_alone(album: Album, tmp_path: Path) -> None:
    file = index_file(tmp_path / "home", album.folder)
    assert file != index_file(tmp_path / "home", album.folder / "inner")
    with writable_index(file, album.folder):
        pass
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_folder_without_an_index_is_said_to_have_none(album: Album) -> None:
    with pytest.raises(PhotosError, match="has no index yet"), existing_index(album.file, album.folder):
        pass


def test_index_of_another_folder_is_refused(album: Album, tmp_path: Path) -> None:
    album.index()
    for opened in (existing_index, writable_index):
        with pytest.raises(PhotosError, match="is the index of"), opened(album.file, tmp_path):
            pass


@pytest.mark.parametrize("content", [b"a text that is no database" * 100, None])
def test_file_of_another_program_is_refused_and_stays_as_it_is(album: Album, content: bytes | None) -> None:
    if content is None:
        with sqlite3.connect(album.file) as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()
    else:
        album.file.write_bytes(content)
    before = album.file.read_bytes()
    for opened in (existing_index, writable_index):
        with pytest.raises(PhotosError, match=r"another program|cannot be used"), opened(album.file, album.folder):
            pass
    assert album.file.read_bytes() == before


def test_index_of_another_release_is_refused(album: Album) -> None:
    album.index()
    with sqlite3.connect(album.file) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    with pytest.raises(PhotosError, match="another release"):
        album.index()


def test_photo_whose_name_is_not_utf8_is_found_under_its_path(album: Album) -> None:
    path = album.folder / os.fsdecode(b"caf\xe9.jpg")
    path.write_bytes(photo("dog"))
    album.index()
    with album.opened() as index:
        [(name, known)] = index.known().items()
        [(_, relative)] = index.places([known.digest])[known.digest]
    assert name == "café.jpg"
    assert album.folder / relative == path
