"""Interrupted uploads continue at their end, and one call at a time writes the same bytes."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from service.datasets import dataset_store as store_module
from service.datasets.dataset_limits import OwnerQuota
from service.datasets.dataset_store import DatasetStore
from service.datasets.upload.header import UploadHeader
from service.errors import InvalidInput, NotReady, QuotaExceeded
from tests.support.datasets.dataset_files import (
    accept_everything,
    header,
    leftovers,
    lines,
    refused,
    sentences,
)

DATA = lines(sentences(40))


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    return accept_everything(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> DatasetStore:
    return DatasetStore(tmp_path)


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
    assert leftovers(tmp_path) == []
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
    assert leftovers(tmp_path) == []


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


@pytest.mark.asyncio
async def test_received_bytes_are_asked_only_by_a_digest(store: DatasetStore) -> None:
    assert await store.received("0" * 64) == 0
    for wrong in ("", "../etc", "0" * 63):
        await refused(store.received(wrong))


# ── owners that tokens prove ──────────────────────────────────────────────────────────────────────────────────────


def of(owner: str, offset: int = 0, data: bytes = DATA) -> UploadHeader:
    return header(data, "a.jsonl", owner=owner, private=True, offset=offset)


@pytest.mark.asyncio
async def test_private_owners_learn_nothing_of_each_other(store: DatasetStore, accepted: list[Path]) -> None:
    begun = await store.begin(of("ann"))
    await store.append(begun, DATA[:100])
    await store.abandon(begun)
    sha256 = begun.header.sha256
    assert await store.received(sha256, "ann") == 100
    assert await store.received(sha256, "bob") == await store.received(sha256) == 0

    again = await store.begin(of("ann", 100))
    await store.append(again, DATA[100:])
    made = await store.finish(again)
    other = await store.begin(of("bob"))
    assert other.existing is None  # equal bytes must be sent before they give a dataset
    await store.append(other, DATA)
    copy = await store.finish(other)
    assert (made.existed, copy.existed) == (False, False)
    assert made.info.id != copy.info.id
    assert [(await store.list(owner=owner)).datasets for owner in ("ann", "bob")] == [(made.info,), (copy.info,)]
    assert (await store.begin(of("ann"))).existing == made.info


@pytest.mark.asyncio
async def test_uploads_of_equal_bytes_by_private_owners_do_not_wait_for_each_other(store: DatasetStore) -> None:
    one, other = await store.begin(of("ann")), await store.begin(of("bob"))
    await store.append(one, DATA[:10])
    await store.append(other, DATA[:20])
    assert await store.received(one.header.sha256, "ann") == 10
    assert await store.received(one.header.sha256, "bob") == 20
    for upload in (one, other):
        await store.abandon(upload)


@pytest.mark.asyncio
async def test_owner_over_a_quota_is_refused_and_others_are_not(store: DatasetStore, accepted: list[Path]) -> None:
    more = DATA + b"\n"
    quota = OwnerQuota(datasets=1)
    running = await store.begin(of("ann"), quota)
    error = await refused(store.begin(of("ann", data=more), quota), QuotaExceeded)
    assert error.message == "you have 1 datasets and uploads, and the limit is 1; delete one first"
    await store.append(running, DATA)
    stored = await store.finish(running)
    await refused(store.begin(of("ann", data=more), quota), QuotaExceeded)
    assert (await store.begin(of("ann"), quota)).existing == stored.info  # takes no more room
    await store.abandon(await store.begin(of("bob", data=more), quota))
    await store.delete(stored.info.id)
    await store.abandon(await store.begin(of("ann", data=more), quota))


@pytest.mark.asyncio
async def test_interrupted_upload_may_go_on_at_a_full_quota(store: DatasetStore) -> None:
    quota = OwnerQuota(datasets=1, total_bytes=len(DATA))
    begun = await store.begin(of("ann"), quota)
    await store.append(begun, DATA[:10])
    await store.abandon(begun)
    await store.abandon(await store.begin(of("ann", 10), quota))


@pytest.mark.asyncio
async def test_owner_over_a_quota_of_bytes_is_refused(store: DatasetStore) -> None:
    quota = OwnerQuota(total_bytes=len(DATA) - 1)
    assert "your datasets may take" in (await refused(store.begin(of("ann"), quota), QuotaExceeded)).message
    await store.abandon(await store.begin(of("ann"), OwnerQuota(total_bytes=len(DATA))))


@pytest.mark.asyncio
async def test_interrupted_uploads_count_in_the_quota_of_their_owner(store: DatasetStore) -> None:
    quota = OwnerQuota(datasets=1, total_bytes=2 * len(DATA))
    begun = await store.begin(of("ann"), quota)
    await store.append(begun, DATA[:-1])
    await store.abandon(begun)
    await refused(store.begin(of("ann", data=DATA + b"\n"), quota), QuotaExceeded)
    await store.abandon(await store.begin(of("bob", data=DATA + b"\n"), quota))


@pytest.mark.asyncio
async def test_uploads_that_begin_at_once_keep_the_quota_of_their_owner(store: DatasetStore) -> None:
    quota = OwnerQuota(datasets=2)
    begun = [store.begin(of("ann", data=DATA + b"\n" * i), quota) for i in range(8)]
    outcomes = await asyncio.gather(*begun, return_exceptions=True)
    opened = [one for one in outcomes if not isinstance(one, BaseException)]
    assert len(opened) == 2
    for upload in opened:
        await store.abandon(upload)
