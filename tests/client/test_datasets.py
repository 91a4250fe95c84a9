"""Datasets: uploads, lists, deletion."""

from pathlib import Path
from typing import Any

import pytest

from service.client import BadInput, Client, Columns, InvalidRequest, NotFound, Unavailable
from service.client.upload import CHUNK
from tests.support.fake_zoo.server import FakeZoo


def test_uploaded_file_is_stored_whole_and_returned_as_a_validated_dataset(
    zoo: FakeZoo, client: Client, tmp_path: Path
) -> None:
    data = bytes(range(256)) * (CHUNK // 100)
    file = tmp_path / "reviews.csv"
    file.write_bytes(data)
    seen: list[tuple[int, int, str]] = []
    dataset = client.upload_dataset(
        file,
        kind="text",
        columns={"text": "review", "target": "stars"},
        task="regression",
        progress=lambda *x: seen.append(x),
    )
    assert zoo.fine_tuning.uploads[dataset.sha256] == data
    [header] = zoo.calls["UploadDataset.header"]
    assert (header.file_name, header.size_bytes, header.offset) == ("reviews.csv", len(data), 0)
    assert (header.columns.text, header.columns.target, header.task) == ("review", "stars", "regression")
    assert dataset.report.inferred == ("kind: image_folder, because the archive holds pictures",)
    assert (dataset.kind, dataset.state, dataset.existed, dataset.display_name) == (
        "text",
        "READY",
        False,
        "reviews.csv",
    )
    assert dataset.columns == Columns(text="review", target="stars")
    assert dataset.report.class_counts == {"cat": 20, "dog": 25, "mug": 3}
    assert dataset.report.skipped[0].reason == "it is no picture"
    assert {what for _, _, what in seen} == {"reading", "sending", "checking"}
    assert seen[-1] == (len(data), len(data), "checking")


def test_broken_upload_continues_where_it_stopped(zoo: FakeZoo, client: Client, photos: Path) -> None:
    zoo.fine_tuning.break_uploads_at.extend([CHUNK, 2 * CHUNK])
    client.upload_dataset(photos)
    offsets = [header.offset for header in zoo.calls["UploadDataset.header"]]
    assert offsets[0] == 0
    assert CHUNK <= offsets[1] < 2 * CHUNK <= offsets[2] < 3 * CHUNK


def test_upload_without_progress_is_given_up(zoo: FakeZoo, client: Client, photos: Path) -> None:
    zoo.fine_tuning.break_uploads_at.extend([0] * 1000)
    zoo.fail_next("UploadDataset", "UNAVAILABLE", "the server is shutting down", times=1000)
    with pytest.raises(Unavailable, match="shutting down"):
        client.upload_dataset(photos)
    assert 5 < len(zoo.calls["UploadDataset"]) < 100


def test_rejected_upload_is_not_retried(zoo: FakeZoo, client: Client, photos: Path) -> None:
    zoo.fail_next("UploadDataset", "INVALID_ARGUMENT", "only one class", reason="INVALID_INPUT", field="header")
    with pytest.raises(InvalidRequest, match="only one class"):
        client.upload_dataset(photos)
    assert len(zoo.calls["UploadDataset"]) == 1


def test_interrupt_removes_the_packed_archive(
    zoo: FakeZoo, client: Client, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(packed))

    def packing(done: int, total: int, what: str) -> None:
        assert list(packed.iterdir())

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client._connection.fine_tuning, "UploadDataset", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        client.upload_dataset(photos, progress=packing)
    assert not list(packed.iterdir()), f"the archive is left while {caught.value!r} is referenced"


def test_uri_is_sent_for_the_server_to_fetch(zoo: FakeZoo, client: Client) -> None:
    assert client.upload_dataset("s3://bucket/photos.zip").uri == "s3://bucket/photos.zip"
    [header] = zoo.calls["UploadDataset.header"]
    assert (header.uri, header.sha256, header.file_name) == ("s3://bucket/photos.zip", "", "")


def test_invalid_upload_is_rejected_before_any_call(zoo: FakeZoo, client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadInput, match="no such file"):
        client.upload_dataset(tmp_path / "none.zip")
    with pytest.raises(BadInput, match="is empty"):
        client.upload_dataset(tmp_path / "empty.csv")
    with pytest.raises(BadInput, match="holds no files"):
        client.upload_dataset(tmp_path / "nothing")
    with pytest.raises(BadInput, match=r"kind: expected one of image_folder, .*, got 'photos'"):
        client.upload_dataset(tmp_path, kind="photos")
    with pytest.raises(BadInput, match=r"columns.label: no such role"):
        client.upload_dataset(tmp_path, columns={"label": "x"})
    assert not zoo.calls["UploadDataset"]
    assert not zoo.calls["GetUpload"]


def test_datasets_are_listed_read_and_deleted(zoo: FakeZoo, client: Client, photos: Path) -> None:
    stored = client.upload_dataset(photos)
    assert [one.id for one in client.datasets()] == [stored.id]
    assert client.dataset(stored.id) == stored
    assert client.delete_dataset(stored.id) == stored.size_bytes
    with pytest.raises(NotFound, match="unknown dataset"):
        client.dataset(stored.id)
