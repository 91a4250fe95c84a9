"""Data are validated in a child process, whose failures reach the caller as errors."""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.datasets.dataset import Columns
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.dataset_store import DatasetStore
from service.datasets.upload import validator_process
from service.datasets.validation.validate import REQUEST_FILE, ValidationRequest
from service.errors import InvalidInput, StorageFull, ZooError
from tests.support.datasets.dataset_files import (
    header,
    lines,
    refused,
    sentences,
    upload,
)
from tests.support.scheduler.fakes import until

DATA = lines(sentences(40))


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path)


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
    monkeypatch.setattr(validator_process, "COMMAND", (sys.executable, "-c", said))
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
    monkeypatch.setattr(validator_process, "COMMAND", ("sh", "-c", f"echo $$ > {tmp_path}/pid; cat"))
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
    monkeypatch.setattr(validator_process, "COMMAND", ("sh", "-c", script))
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
        [*validator_process.COMMAND, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    with (tmp_path / "data").open("wb"):  # opens once the child reads
        assert process.poll() is None
        process.communicate(timeout=60)
    assert process.returncode == 1
