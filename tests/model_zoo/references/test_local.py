"""A folder is read without leaving it."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_zoo.cards.weight_source import LocalSource, SourceFile
from model_zoo.errors import DigestMismatch, NotDerivable, SourceUnavailable
from model_zoo.references.local import LocalRepository
from model_zoo.sources.folder_files import LocalFolder
from tests.support.references.tiny_repositories import write_page

DIGEST = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"


def source(folder: Path, path: str = "weights.bin", sha256: str = DIGEST, size: int = 5) -> LocalFolder:
    file = SourceFile(path=path, sha256=sha256, bytes=size)
    return LocalFolder(LocalSource(kind="local", folder=str(folder), files={"weights": file}))


def test_files_are_listed_by_relative_path_without_hidden_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("x")
    write_page(tmp_path, "text-classification")
    repository = LocalRepository(tmp_path)
    assert set(repository.files) == {"a/config.json", "README.md"}
    assert (repository.licence, repository.task) == ("apache-2.0", "text-classification")


def test_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        _ = LocalRepository(tmp_path / "none").files
    assert str(tmp_path) not in str(raised.value), "no path of this machine in a message"
    (tmp_path / "file").write_text("x")
    with pytest.raises(SourceUnavailable, match="it is a file"):
        _ = LocalRepository(tmp_path / "file").files
    with pytest.raises(SourceUnavailable, match="cannot be read"):
        _ = LocalRepository(tmp_path / ("a" * 5000)).files


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside, folder = tmp_path / "secret", tmp_path / "folder"
    outside.write_text("hello")
    folder.mkdir()
    (folder / "weights.bin").symlink_to(outside)
    with pytest.raises(NotDerivable, match="link"):
        _ = LocalRepository(folder).files
    with pytest.raises(SourceUnavailable, match="link"):
        source(folder).read(folder, SourceFile(path="weights.bin", sha256=DIGEST, bytes=5))


def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    """Snapshots of a hub's cache are made of such links."""
    (tmp_path / "blob").write_text("hello")
    (tmp_path / "weights.bin").symlink_to("blob")
    assert LocalRepository(tmp_path).files["weights.bin"].size == 5


def test_snapshot_of_the_cache_of_a_hub_is_read(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / DIGEST).write_text("hello")
    (snapshot / "weights.bin").symlink_to(f"../../blobs/{DIGEST}")
    assert LocalRepository(snapshot).files["weights.bin"].size == 5
    assert source(snapshot).read(snapshot, SourceFile(path="weights.bin", sha256=DIGEST, bytes=5)) == b"hello"
    (tmp_path / "secret").write_text("hello")
    (snapshot / "other").symlink_to("../../secret")
    with pytest.raises(NotDerivable, match="link"):
        _ = LocalRepository(snapshot).files


def test_large_file_is_not_read_as_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b" " * 200)
    with pytest.raises(NotDerivable, match="200 bytes"):
        LocalRepository(tmp_path).read("config.json", most=100)


def test_changed_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "weights.bin"
    file.write_text("hello")
    folder = source(tmp_path)
    card_file = SourceFile(path="weights.bin", sha256=DIGEST, bytes=5)
    assert folder.read(folder.fetch(tmp_path / "downloads"), card_file) == b"hello"
    file.write_text("longer now")
    with pytest.raises(SourceUnavailable, match="5 bytes"):
        folder.read(tmp_path, card_file)
    file.write_text("jello")
    with pytest.raises(DigestMismatch):
        folder.read(tmp_path, card_file)
    folder.discard(tmp_path)
    assert file.exists(), "the folder is the user's"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b"])
def test_card_cannot_name_a_file_outside(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="relative paths inside"):
        source(tmp_path, path)
