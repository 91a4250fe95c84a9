"""The data of an upload."""

import zipfile
from pathlib import Path

import pytest

from service.client import Client
from service.client.upload import kinds_in, opened, silent
from tests.support.fake_zoo.server import FakeZoo


def test_folder_is_packed_reproducibly_without_hidden_files(zoo: FakeZoo, client: Client, photos: Path) -> None:
    first = client.upload_dataset(photos)
    (photos / "cat" / "0.jpg").touch()
    assert client.upload_dataset(photos).existed
    packed = photos.parent / "packed.zip"
    packed.write_bytes(zoo.fine_tuning.uploads[first.sha256])
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]
    [header, again] = zoo.calls["UploadDataset.header"]
    assert header.file_name == "photos.zip"
    assert again.offset == again.size_bytes, "the bytes that the server has are not sent again"


def test_links_of_a_folder_are_not_packed(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (photos / "cat" / "link.jpg").symlink_to(tmp_path / "secret")
    with opened(photos, silent) as source, zipfile.ZipFile(source.path) as archive:
        assert "cat/link.jpg" not in archive.namelist()
    assert not source.path.exists(), "the archive is removed"


@pytest.mark.parametrize(
    ("name", "kind", "sent_name"),
    [
        ("poems", "plain_text", "poems.txt"),
        ("poems.log", "plain_text", "poems.log.txt"),
        ("POEMS.TXT", "plain_text", "POEMS.TXT"),
        ("poems.tar.gz", "plain_text", "poems.tar.gz"),
        ("poems", "", "poems"),
        ("poems.csv", "text", "poems.csv"),
    ],
)
def test_plain_text_file_of_any_name_is_sent_with_a_text_suffix(
    zoo: FakeZoo, client: Client, tmp_path: Path, name: str, kind: str, sent_name: str
) -> None:
    (tmp_path / name).write_text("a rose is a rose")
    assert client.upload_dataset(tmp_path / name, kind=kind).display_name == name
    assert zoo.calls["UploadDataset.header"][0].file_name == sent_name


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["a.CSV"], {"text", "table", "series"}),
        (["a.jpg", "data.yaml"], {"image_folder", "image_table", "boxes", "masks"}),
        (
            ["cat/a.jpg", "dog/b.png", "notes.txt"],
            {"image_folder", "image_table", "boxes", "masks", "text", "plain_text", "spans"},
        ),
        (["a.jsonl"], {"text", "table", "series", "spans"}),
        (["train.conll", "test.conll"], {"spans"}),
        (["ann/a.wav", "bob/b.flac", ".hidden.csv"], {"audio_folder"}),
        (["a.zip"], set()),
        (["a.xyz"], set()),
    ],
)
def test_possible_kinds_follow_from_file_names(tmp_path: Path, names: list[str], kinds: set[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert set(kinds_in(tmp_path)) == kinds
    assert set(kinds_in(str(tmp_path / names[0]))) <= kinds
    assert kinds_in("s3://bucket/a.csv") == ()
