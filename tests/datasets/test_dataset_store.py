"""An upload becomes a dataset exactly once, and leaves nothing but the dataset, whatever fails on the way."""

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.datasets import dataset_store as store_module
from service.datasets.dataset import Columns, DatasetInfo, DatasetKind, DatasetReport, dataset_folder
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.dataset_store import DatasetStore
from service.datasets.examples import open_dataset
from service.datasets.upload import staging, uploads, validator_process
from service.datasets.validation.validate import REQUEST_FILE, ValidationRequest
from service.errors import IllegalMove, InvalidInput, NotFound, NotReady, StorageFull, ZooError
from tests.support.dataset_files import (
    header,
    lines,
    photos,
    sentences,
    upload,
    zipped,
)
from tests.support.scheduler_fakes import until

DATA = lines(sentences(40))


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path)


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replaces the child process by one that accepts everything at once."""
    calls: list[Path] = []

    async def run(folder: Path, limits: DatasetLimits) -> None:
        order = ValidationRequest.model_validate_json((folder / REQUEST_FILE).read_bytes())
        made = folder / "dataset"
        made.mkdir()
        info = DatasetInfo(
            id=order.id,
            display_name=order.display_name,
            kind=order.kind or DatasetKind.TEXT,
            sha256=order.sha256,
            size_bytes=order.size_bytes,
            report=DatasetReport(examples=1),
            created=datetime.now(UTC),
        )
        (made / "dataset.json").write_text(info.model_dump_json())
        (made / "examples").mkdir()
        (made / "examples" / "state.json").write_text('{"_data_files": [{"filename": "a.arrow"}]}')
        (made / "examples" / "a.arrow").write_bytes(bytes(8))
        calls.append(folder)

    monkeypatch.setattr(validator_process, "run", run)
    return calls


def left(home: Path) -> list[str]:
    """All entries of a home except complete datasets."""
    uploads_left = [path.name for path in (home / "uploads").glob("*")] if (home / "uploads").is_dir() else []
    return uploads_left + [path.name for path in (home / "datasets").glob(".*")]


def order_for(data: Path, file_name: str) -> ValidationRequest:
    """The environment of the child process."""
    return ValidationRequest(
        id="0" * 32,
        data=data,
        file_name=file_name,
        sha256="0" * 64,
        size_bytes=1,
        kind=None,
        columns=Columns(),
        display_name="",
        uri="",
        owner="",
        limits=DatasetLimits(),
    )


async def refused(awaited: Any, kind: type[ZooError] = InvalidInput) -> ZooError:
    with pytest.raises(kind) as caught:
        await awaited
    return caught.value


# ── the whole way ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_uploaded_images_are_returned_unchanged(store: DatasetStore, tmp_path: Path) -> None:
    files = photos({"cats": 3, "dogs": 4})
    stored = await upload(store, zipped(files), "pets.zip", display_name="My pets", owner="ann")
    assert not stored.existed
    assert stored.info.kind is DatasetKind.IMAGE_FOLDER
    assert stored.info.report.class_counts == {"cats": 3, "dogs": 4}
    assert (stored.info.display_name, stored.info.owner) == ("My pets", "ann")
    examples = open_dataset(tmp_path, stored.info.id)
    assert [examples[i].instance.data for i in range(len(examples))] == list(files.values())  # type: ignore[union-attr]
    assert left(tmp_path) == []


@pytest.mark.asyncio
async def test_validator_refusal_reaches_the_caller_with_its_field(store: DatasetStore, tmp_path: Path) -> None:
    error = await refused(upload(store, DATA, "a.jsonl", columns=Columns(target="lable")))
    assert isinstance(error, InvalidInput)
    assert error.field == "header.columns.target"
    assert error.problem == "there is no column 'lable'; did you mean 'label'? The columns are 'text', 'label'"
    assert not list((tmp_path / "datasets").iterdir()), "no staging is left"
    # The bytes are still there: the caller tries other columns without sending them again.
    begun = await store.begin(header(DATA, "a.jsonl", offset=len(DATA), columns=Columns(target="label")))
    assert (await store.finish(begun)).info.labels == ("bad", "good")


@pytest.mark.asyncio
async def test_validator_refusal_with_a_long_problem_is_complete(
    store: DatasetStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is longer than the buffer of a pipe, so it comes in pieces."""
    said = "import json; print(json.dumps({'error': {'field': 'data', 'problem': 'x' * 300_000}}))"
    monkeypatch.setattr(validator_process, "CHILD", (sys.executable, "-c", said))
    error = await refused(upload(store, DATA, "a.jsonl"))
    assert isinstance(error, InvalidInput)
    assert len(error.problem) == 300_000


def test_validator_process_imports_no_slow_module(tmp_path: Path) -> None:
    """Importing `datasets` and pandas takes longer than validating a small upload."""
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / REQUEST_FILE).write_text(order_for(tmp_path / "data", "a.jsonl").model_dump_json())
    command = (sys.executable, "-X", "importtime", "-m", "service.datasets.validation.validate", str(tmp_path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        imported = {line.rpartition(b"|")[2].strip() for line in process.stderr.read().splitlines()}
        assert process.stdout.read() == b'{"ok": true}\n'
    assert b"pyarrow" in imported
    assert not imported & {b"datasets", b"pandas.core", b"torch", b"transformers", b"soundfile", b"pydantic_settings"}


@pytest.mark.asyncio
async def test_upload_over_the_cpu_limit_is_refused(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path, DatasetLimits(cpu_seconds=1))
    data = b"x,y\n" + b"".join(b"%d,%d\n" % (i, i % 2) for i in range(300_000))
    error = await refused(upload(store, data, "a.csv"))
    assert error.message == "data: takes more than 1 second of processor time to read; send less at once"
    assert not list((tmp_path / "datasets").iterdir())


@pytest.mark.asyncio
async def test_validator_process_of_a_cancelled_caller_is_killed(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child process would never end."""
    monkeypatch.setattr(validator_process, "CHILD", ("sh", "-c", f"echo $$ > {tmp_path}/pid; cat"))
    task = asyncio.create_task(upload(store, DATA, "a.jsonl"))
    pid = tmp_path / "pid"
    await until(lambda: pid.exists() and pid.read_text().strip() != "")
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert list((tmp_path / "datasets").iterdir()) == []
    assert await store.received(header(DATA, "a.jsonl").sha256) == len(DATA), "the bytes need not be sent again"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("script", "kind", "says"),
    [
        ("kill -9 $$", InvalidInput, "killed from outside (SIGKILL)"),
        ("kill -XCPU $$", InvalidInput, "seconds of processor time"),
        ("echo Traceback /secret >&2; exit 1", ZooError, "internal error"),
        ("""echo '{"full": true}'""", StorageFull, "no room"),
    ],
)
async def test_validator_process_that_dies_gives_an_error_without_secrets(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, kind: type[ZooError], says: str
) -> None:
    monkeypatch.setattr(validator_process, "CHILD", ("sh", "-c", script))
    error = await refused(upload(store, DATA, "a.jsonl"), kind)
    assert says in error.message
    assert "secret" not in error.message
    assert list((tmp_path / "datasets").iterdir()) == []


@pytest.mark.asyncio
async def test_upload_over_the_memory_limit_is_refused_and_the_server_survives(tmp_path: Path) -> None:
    store = DatasetStore(tmp_path, DatasetLimits(memory_mib=1, text_bytes=1 << 22))
    data = lines([{"text": "word " * 600_000, "label": "a"}])
    error = await refused(upload(store, data, "a.jsonl"))
    assert error.message == "data: needs more memory than a dataset may use; send less at once"


def test_validator_process_ends_with_its_server(tmp_path: Path) -> None:
    """The child would wait forever on a pipe without a writer; it ends because its standard input closes with the server."""
    os.mkfifo(tmp_path / "data")
    (tmp_path / REQUEST_FILE).write_text(order_for(tmp_path / "data", "a.txt").model_dump_json())
    process = subprocess.Popen(
        [*validator_process.CHILD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    with (tmp_path / "data").open("wb"):  # opens once the child reads
        assert process.poll() is None
        process.communicate(timeout=60)
    assert process.returncode == 1


# ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_interrupted_upload_continues_at_its_end(
    store: DatasetStore, tmp_path: Path, accepted: list[Path]
) -> None:
    begun = await store.begin(header(DATA, "a.jsonl"))
    await store.append(begun, DATA[:100])
    await store.abandon(begun)
    assert await store.received(begun.header.sha256) == 100

    after_restart = DatasetStore(tmp_path)
    await after_restart.start()
    assert await after_restart.received(begun.header.sha256) == 100
    error = await refused(after_restart.begin(header(DATA, "a.jsonl")))
    assert error.message == "header.offset: the server has 100 bytes of this upload, so continue at 100, got 0"
    again = await after_restart.begin(header(DATA, "a.jsonl", offset=100))
    await after_restart.append(again, DATA[100:])
    assert (await after_restart.finish(again)).info.sha256 == begun.header.sha256
    assert left(tmp_path) == []
    assert await after_restart.received(begun.header.sha256) == 0


@pytest.mark.asyncio
async def test_upload_finished_too_early_names_the_offset_to_continue_at(store: DatasetStore) -> None:
    begun = await store.begin(header(DATA, "a.jsonl"))
    await store.append(begun, DATA[:7])
    error = await refused(store.finish(begun))
    assert error.message == f"chunk: 7 of {len(DATA)} bytes were received; continue with offset 7"
    assert await store.received(begun.header.sha256) == 7


@pytest.mark.asyncio
async def test_upload_with_another_digest_is_deleted(store: DatasetStore, tmp_path: Path) -> None:
    begun = await store.begin(header(DATA, "a.jsonl"))
    await store.append(begun, bytes(len(DATA)))
    error = await refused(store.finish(begun))
    assert isinstance(error, InvalidInput)
    assert error.field == "header.sha256"
    assert left(tmp_path) == []


@pytest.mark.asyncio
async def test_upload_with_more_bytes_than_announced_is_refused(store: DatasetStore) -> None:
    begun = await store.begin(header(DATA, "a.jsonl"))
    await store.append(begun, DATA)
    error = await refused(store.append(begun, b"x"))
    assert "got more bytes than" in error.message
    await store.abandon(begun)


@pytest.mark.asyncio
async def test_concurrent_upload_of_the_same_bytes_is_unavailable(
    store: DatasetStore, tmp_path: Path, accepted: list[Path]
) -> None:
    first = await store.begin(header(DATA, "a.jsonl"))
    await store.append(first, DATA[:50])
    for other in (store, DatasetStore(tmp_path)):  # one of this server, and one of another server on the same home
        error = await refused(other.begin(header(DATA, "a.jsonl")), NotReady)
        assert isinstance(error, NotReady)
        assert error.retry_after_s
    await store.append(first, DATA[50:])
    await store.finish(first)
    second = await store.begin(header(DATA, "a.jsonl"))
    assert second.existing is not None
    assert (await store.finish(second)).existed
    assert len(accepted) == 1


@pytest.mark.asyncio
async def test_idle_upload_is_taken_over_by_another_call(
    store: DatasetStore, accepted: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await store.begin(header(DATA, "a.jsonl"))
    await store.append(first, DATA[:50])
    first.last_active -= store_module.TAKEOVER_AFTER_S + 1
    second = await store.begin(header(DATA, "a.jsonl", offset=50))
    await refused(store.append(first, DATA[50:]), NotReady)
    await store.abandon(first)
    await store.append(second, DATA[50:])
    assert (await store.finish(second)).info.size_bytes == len(DATA)


@pytest.mark.asyncio
async def test_same_data_with_the_same_header_is_one_dataset(store: DatasetStore, accepted: list[Path]) -> None:
    first = await upload(store, DATA, "a.jsonl")
    again = await upload(store, DATA, "b.jsonl")
    otherwise = await upload(store, DATA, "a.jsonl", columns=Columns(target="label"))
    assert again.existed
    assert again.info.id == first.info.id
    assert len(first.info.id) == 32
    assert not otherwise.existed
    assert otherwise.info.id != first.info.id


@pytest.mark.asyncio
async def test_cancelled_begin_releases_its_lock(store: DatasetStore, accepted: list[Path]) -> None:
    for _ in range(20):
        task = asyncio.create_task(store.begin(header(DATA, "a.jsonl")))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await store.abandon(await task)
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(NotReady):
                begun = await store.begin(header(DATA, "a.jsonl"))
                break
            await asyncio.sleep(0.01)
    await store.abandon(begun)


# ── room ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_disk_filling_up_during_an_upload_leaves_nothing(
    store: DatasetStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await store.begin(header(DATA, "a.jsonl"))
    await store.append(begun, DATA[:50])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        error = await refused(store.append(begun, DATA[50:]), StorageFull)
    assert str(tmp_path) not in error.message
    assert left(tmp_path) == []
    await store.abandon(begun)


@pytest.mark.asyncio
async def test_disk_without_space_refuses_an_upload_at_once(store: DatasetStore) -> None:
    """No disk has an exabyte."""
    huge = DatasetStore(store._home, DatasetLimits(dataset_bytes=1 << 61))
    await refused(huge.begin(header(DATA, "a.jsonl").__class__("0" * 64, 1 << 60, "a.zip")), StorageFull)


@pytest.mark.asyncio
async def test_disk_full_during_validation_is_reported_and_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child's file size limit is smaller than the dataset, which gives the same error as a full disk."""
    store = DatasetStore(tmp_path)
    data = lines(sentences(40, more="x" * 50_000))

    script = 'ulimit -f 4; trap "" XFSZ; exec "$@"'
    monkeypatch.setattr(validator_process, "CHILD", ("sh", "-c", script, "sh", *validator_process.CHILD))
    await refused(upload(store, data, "a.jsonl", columns=Columns(text="more", target="label")), StorageFull)
    assert left(tmp_path) == []


@pytest.mark.asyncio
async def test_datasets_over_the_quota_are_refused(tmp_path: Path, accepted: list[Path]) -> None:
    store = DatasetStore(tmp_path, DatasetLimits(total_bytes=3 * len(DATA)))
    stored = await upload(store, DATA, "a.jsonl")
    (dataset_folder(tmp_path, stored.info.id) / "more").write_bytes(bytes(3 * len(DATA)))
    other = lines(sentences(41))
    store = DatasetStore(tmp_path, DatasetLimits(total_bytes=3 * len(DATA)))
    error = await refused(upload(store, other, "a.jsonl"), StorageFull)
    assert "delete some" in error.message
    await store.delete(stored.info.id)
    await upload(store, other, "a.jsonl")


@pytest.mark.asyncio
async def test_files_deleted_while_sizes_are_counted_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile other uploads end, and jobs rename their files."""
    store = DatasetStore(tmp_path)
    stored = await upload(store, DATA, "a.jsonl")
    walk, lstat = os.walk, Path.lstat

    def gone(path: Path) -> os.stat_result:
        path.unlink()
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", gone)
    assert await store.delete(stored.info.id) == 0
    assert [names for _, _, names in walk(tmp_path / "datasets")] == [[]]


@pytest.mark.asyncio
async def test_restart_removes_leftovers_of_a_killed_server(tmp_path: Path) -> None:
    dead, deleted = tmp_path / "datasets" / ".staging-dead", tmp_path / "datasets" / ".deleted-dead"
    for folder in (dead, deleted):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
    old = uploads.part_path(tmp_path, "a" * 64)
    old.parent.mkdir()
    old.touch()
    os.utime(old, (time.time() - 2 * uploads.UPLOAD_RETENTION_S,) * 2)
    fresh = uploads.part_path(tmp_path, "b" * 64)
    fresh.write_bytes(b"12")
    alive = staging.StagingFolder(tmp_path)
    orphan = tmp_path / "features" / f"{'b' * 16}-{'0' * 32}"
    orphan.mkdir(parents=True)
    await DatasetStore(tmp_path).start()
    assert not orphan.exists()
    assert left(tmp_path) == [fresh.name, alive.folder.name]
    alive.remove()


# ── what is there ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_dataset_list_has_pages_newest_first(store: DatasetStore, accepted: list[Path]) -> None:
    made = [(await upload(store, DATA, "a.jsonl", columns=Columns(text=str(i)))).info.id for i in range(5)]
    made.append((await upload(store, DATA, "a.jsonl", kind=DatasetKind.TABLE)).info.id)
    first = await store.list(4)
    rest = await store.list(4, first.next)
    assert [info.id for info in (*first.datasets, *rest.datasets)] == made[::-1]
    assert first.next
    assert not rest.next
    assert [info.id for info in (await store.list(kind=DatasetKind.TABLE)).datasets] == made[-1:]
    assert not (await store.list(6)).next


@pytest.mark.asyncio
async def test_dataset_used_by_a_job_is_deleted_only_by_force(tmp_path: Path, accepted: list[Path]) -> None:
    used: set[str] = set()

    async def in_use(dataset_id: str) -> bool:
        return dataset_id in used

    store = DatasetStore(tmp_path, in_use=in_use)
    dataset_id = (await upload(store, DATA, "a.jsonl")).info.id
    used.add(dataset_id)
    assert "used by a job" in (await refused(store.delete(dataset_id), IllegalMove)).message
    assert (await store.get(dataset_id)).id == dataset_id
    features = tmp_path / "features" / f"{'b' * 16}-{dataset_id}"
    others = tmp_path / "features" / f"{'b' * 16}-{'0' * 32}"
    for folder in (features, others):
        folder.mkdir(parents=True)
        (folder / "chunk-0-1.safetensors").write_bytes(b"0123456789")
    size = staging.tree_size(dataset_folder(tmp_path, dataset_id))
    assert await store.delete(dataset_id, force=True) == size + 10 > 10
    assert not features.exists()  # features of this dataset are deleted too, and no others
    assert others.exists()
    for gone in (store.get(dataset_id), store.delete(dataset_id)):
        await refused(gone, NotFound)
    assert not (await store.list()).datasets
    with pytest.raises(NotFound):
        open_dataset(tmp_path, dataset_id)
    assert left(tmp_path) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["", "..", "../x", "g" * 32, "0" * 31, "0" * 5000, "\0", ".staging-1"])
async def test_dataset_id_that_is_malformed_is_not_found(store: DatasetStore, name: str) -> None:
    await refused(store.get(name), NotFound)
    await refused(store.delete(name, force=True), NotFound)


# ── headers ───────────────────────────────────────────────────────────────────────────────────────────────────────

WRONG: list[tuple[str, dict[str, Any]]] = [
    ("header.sha256", {"sha256": ""}),
    ("header.sha256", {"sha256": "A" * 64}),
    ("header.sha256", {"sha256": "../" * 21 + "a"}),
    ("header.size_bytes", {"size_bytes": 0}),
    ("header.size_bytes", {"size_bytes": -1}),
    ("header.size_bytes", {"size_bytes": 1 << 40}),
    ("header.offset", {"offset": -1}),
    ("header.offset", {"offset": 11}),
    ("header.offset", {"offset": 5}),
    ("header.file_name", {"file_name": ""}),
    ("header.file_name", {"file_name": "a.exe"}),
    ("header.file_name", {"file_name": "zip"}),
    ("header.display_name", {"display_name": "x" * 129}),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("field", "given"), WRONG)
async def test_header_with_a_wrong_field_is_refused_by_that_field(
    store: DatasetStore, field: str, given: dict[str, Any]
) -> None:
    make: Callable[..., Any] = store_module.UploadHeader
    error = await refused(store.begin(make(**({"sha256": "0" * 64, "size_bytes": 10, "file_name": "a.zip"} | given))))
    assert isinstance(error, InvalidInput)
    assert error.field == field
    assert left(store._home) == [], "and nothing is kept"


@pytest.mark.asyncio
async def test_received_bytes_are_asked_only_by_a_digest(store: DatasetStore) -> None:
    assert await store.received("0" * 64) == 0
    for wrong in ("", "../etc", "0" * 63):
        await refused(store.received(wrong))
