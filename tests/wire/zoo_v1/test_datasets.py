"""Uploads over the wire: accepted, refused, interrupted and resumed."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details
from grpc import aio

from service.datasets.dataset import Columns, DatasetKind
from service.datasets.dataset_store import CHUNK, DatasetStore
from service.pb import fine_tuning_pb2 as pb
from tests.support.wire.calls import detail, status_in, until
from tests.support.wire.fine_tuning import dataset, tuning

pytestmark = pytest.mark.asyncio
SHA = "a" * 64
MIB = 1 << 20
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def header(**fields: Any) -> pb.UploadDatasetRequest:
    whole = {"sha256": SHA, "size_bytes": 8, "file_name": "a.csv", **fields}
    return pb.UploadDatasetRequest(header=pb.UploadHeader(**whole))


def chunk(data: bytes) -> pb.UploadDatasetRequest:
    return pb.UploadDatasetRequest(chunk=data)


async def refused(call: Any, field: str, code: grpc.StatusCode = INVALID) -> str:
    """The problem with `field` for which a call is refused."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code, caught.value.details()
    bad = detail(status_in(caught.value), details.BadRequest)
    assert bad is not None
    assert bad.field_violations[0].field == field
    return bad.field_violations[0].description


# ── uploads ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_header_and_bytes_reach_the_store_in_order() -> None:
    async with tuning() as t:
        columns = pb.DatasetColumns(text="review", target="stars", ignored=["id"])
        first = header(sha256=SHA.upper(), kind=pb.DATASET_KIND_TEXT, columns=columns, display_name="Reviews", offset=2)
        first.header.task = "text-classification"
        reply = await t.stub.UploadDataset(iter([first, chunk(b"abc"), chunk(b""), chunk(b"def")]))
        [upload] = t.datasets.uploads
        assert upload.chunks == [b"abc", b"", b"def"]
        told = upload.header
        assert (told.sha256, told.size_bytes, told.offset, told.file_name) == (SHA, 8, 2, "a.csv")
        assert (told.kind, told.task, told.display_name) == (DatasetKind.TEXT, "text-classification", "Reviews")
        assert told.columns == Columns(text="review", target="stars", ignored=("id",))
        assert (reply.dataset.id, reply.existed, upload.ended) == ("new", False, "finished")
        assert t.calls("UploadDataset", "OK") == 1


@pytest.mark.parametrize(
    ("messages", "field", "says"),
    [
        ([], "header", "the stream ended without one"),
        ([chunk(b"x"), header()], "header", "expected the header in the first message"),
        ([pb.UploadDatasetRequest()], "header", "expected the header in the first message"),
        ([header(), chunk(b"abcd"), header()], "header", "came a second time"),
        ([header(size_bytes=CHUNK + 1), chunk(bytes(CHUNK + 1))], "chunk", f"at most {CHUNK} bytes in a message"),
        ([header(), chunk(b"abcd")], "chunk", "missing"),
        ([header(size_bytes=10**10)], "header.size_bytes", "too many"),
        ([header(file_name="")], "header.file_name", "is required"),
        ([header(kind=99)], "header.kind", "got 99"),
        ([header(uri="s3://b/k")], "header.sha256", "belongs to an upload"),
    ],
)  # fmt: skip
async def test_stream_that_is_no_upload_is_refused_with_the_field(messages: list[Any], field: str, says: str) -> None:
    async with tuning() as t:
        assert says in await refused(t.stub.UploadDataset(iter(messages)), field)
        assert all(upload.ended == "abandoned" for upload in t.datasets.uploads)
        assert t.calls("UploadDataset", "INVALID_ARGUMENT") == 1


async def test_uri_upload_is_fetched_by_the_server_and_takes_no_bytes() -> None:
    async with tuning() as t:
        fetch = pb.UploadHeader(uri="s3://b/k", kind=pb.DATASET_KIND_TABLE, display_name="far")
        reply = await t.stub.UploadDataset(iter([pb.UploadDatasetRequest(header=fetch)]))
        assert reply.dataset.id == "new"
        [asked] = t.datasets.uris
        assert (asked["uri"], asked["kind"], asked["display_name"]) == ("s3://b/k", DatasetKind.TABLE, "far")
        problem = await refused(
            t.stub.UploadDataset(iter([pb.UploadDatasetRequest(header=fetch), chunk(b"x")])), "chunk"
        )
        assert "no bytes follow" in problem
        assert len(t.datasets.uris) == 1


async def test_upload_of_known_data_ends_without_its_bytes() -> None:
    async with tuning() as t:
        t.datasets.existing = dataset("old")
        released = asyncio.Event()

        async def sent() -> AsyncIterator[pb.UploadDatasetRequest]:
            yield header()
            await released.wait()

        reply = await t.stub.UploadDataset(sent())  # comes though nothing was sent
        assert (reply.dataset.id, reply.existed) == ("old", True)
        released.set()


async def test_cancelled_upload_is_released_and_keeps_its_bytes() -> None:
    async with tuning() as t:
        held = asyncio.Event()

        async def sent() -> AsyncIterator[pb.UploadDatasetRequest]:
            yield header()
            yield chunk(b"abcd")
            await held.wait()

        call = t.stub.UploadDataset(sent())
        waiting = asyncio.ensure_future(call)
        await until(lambda: t.datasets.uploads and t.datasets.uploads[0].chunks)
        call.cancel()
        await asyncio.wait([waiting])
        await until(lambda: t.datasets.uploads[0].ended)
        assert (t.datasets.uploads[0].ended, t.datasets.uploads[0].chunks) == ("abandoned", [b"abcd"])
        await until(lambda: t.calls("UploadDataset", "CANCELLED") == 1)


async def test_a_slow_disk_slows_the_sender_down() -> None:
    async with tuning() as t:
        t.datasets.gate.clear()
        asked = 0

        async def sent() -> AsyncIterator[pb.UploadDatasetRequest]:
            nonlocal asked
            yield header(size_bytes=64 * MIB)
            for _ in range(64):
                asked += 1
                yield chunk(bytes(MIB))

        call = asyncio.ensure_future(t.stub.UploadDataset(sent()))
        await until(lambda: t.datasets.uploads)
        looks = [-1] * 100

        def nothing_more_is_drawn() -> bool:
            looks.append(asked)
            return set(looks[-100:]) == {asked}

        await until(nothing_more_is_drawn)
        assert asked < 32, "what the store has not taken is not read"
        t.datasets.gate.set()
        await call
        assert asked == 64


@pytest.mark.parametrize("where", ["sending", "checking"])
async def test_stopping_server_ends_uploads_with_unavailable(where: str) -> None:
    async with tuning() as t:
        t.datasets.gate.clear()
        held = asyncio.Event()

        async def sent() -> AsyncIterator[pb.UploadDatasetRequest]:
            yield header(size_bytes=0 if where == "checking" else 8)
            if where == "sending":
                await held.wait()

        call = asyncio.ensure_future(t.stub.UploadDataset(sent()))
        await until(lambda: t.datasets.uploads)
        t.servicer.stop()
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert t.datasets.uploads[0].ended == "abandoned"
        held.set()


# ── the rest ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_dataset_is_shown_with_its_whole_report() -> None:
    async with tuning() as t:
        found = (await t.stub.GetDataset(pb.GetDatasetRequest(id="d1"))).dataset
        assert (found.id, found.kind, found.state) == ("d1", pb.DATASET_KIND_IMAGE_FOLDER, pb.DATASET_STATE_READY)
        assert (found.display_name, found.uri, found.owner, found.size_bytes) == ("Pets", "s3://b/k", "me", 1000)
        assert (found.columns.text, list(found.columns.ignored)) == ("t", ["x", "y"])
        report = found.report
        assert (report.example_count, dict(report.class_counts)) == (48, {"cat": 20, "dog": 28})
        assert report.skipped[0] == pb.SkippedExample(file="cat/a.jpg", row=3, reason="it is no picture")
        assert (report.duplicate_count, report.duration.ToTimedelta().total_seconds()) == (2, 1.5)
        assert list(report.inferred) == ["kind: text, because a column is called so"]
        assert found.create_time.seconds == int(dataset().created.timestamp())


async def test_datasets_are_listed_in_pages_without_skipped_examples() -> None:
    async with tuning() as t:
        first = await t.stub.ListDatasets(pb.ListDatasetsRequest(page_size=2))
        assert [d.id for d in first.datasets] == ["d1", "d2"]
        assert not first.datasets[0].report.skipped
        second = await t.stub.ListDatasets(pb.ListDatasetsRequest(page_size=2, page_token=first.next_page_token))
        assert ([d.id for d in second.datasets], second.next_page_token) == (["d3"], "")
        other = pb.ListDatasetsRequest(kind=pb.DATASET_KIND_TEXT, page_token=first.next_page_token)
        assert "other filters" in await refused(t.stub.ListDatasets(other), "page_token")
        assert not (await t.stub.ListDatasets(pb.ListDatasetsRequest(kind=pb.DATASET_KIND_TEXT))).datasets
        await refused(t.stub.ListDatasets(pb.ListDatasetsRequest(page_token="x")), "page_token")
        await refused(t.stub.ListDatasets(pb.ListDatasetsRequest(page_size=-1)), "page_size")
        await refused(t.stub.ListDatasets(pb.ListDatasetsRequest(kind=99)), "kind")


async def test_dataset_in_use_is_deleted_only_by_force() -> None:
    async with tuning() as t:
        with pytest.raises(aio.AioRpcError) as caught:
            await t.stub.DeleteDataset(pb.DeleteDatasetRequest(id="d1"))
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert (await t.stub.DeleteDataset(pb.DeleteDatasetRequest(id="d1", force=True))).freed_bytes == 1000
        with pytest.raises(aio.AioRpcError) as caught:
            await t.stub.GetDataset(pb.GetDatasetRequest(id="d1"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_missing_dataset_id_is_refused() -> None:
    async with tuning() as t:
        await refused(t.stub.GetDataset(pb.GetDatasetRequest()), "id")
        await refused(t.stub.DeleteDataset(pb.DeleteDatasetRequest()), "id")
        await refused(t.stub.GetUpload(pb.GetUploadRequest()), "sha256")
        assert (await t.stub.GetUpload(pb.GetUploadRequest(sha256=SHA.upper()))).received_bytes == 7


# ── with the real store ───────────────────────────────────────────────────────────────────────────────────────────

TABLE = b"text,label\n" + b"".join(b"%s number %d,%s\n" % (w, i, w) for i in range(20) for w in (b"good", b"bad"))


def parts(data: bytes, sha256: str = "", size: int = -1, offset: int = 0) -> list[pb.UploadDatasetRequest]:
    digest = sha256 or hashlib.sha256(TABLE).hexdigest()
    first = header(sha256=digest, size_bytes=len(TABLE) if size < 0 else size, offset=offset, file_name="a.csv")
    return [first, chunk(data)]


async def test_interrupted_upload_is_resumed_and_then_known(tmp_path: Path) -> None:
    async with tuning(DatasetStore(tmp_path)) as t:
        assert "of" in await refused(t.stub.UploadDataset(iter(parts(TABLE[:100]))), "chunk")
        digest = hashlib.sha256(TABLE).hexdigest()
        assert (await t.stub.GetUpload(pb.GetUploadRequest(sha256=digest))).received_bytes == 100
        await refused(t.stub.UploadDataset(iter(parts(TABLE))), "header.offset")
        reply = await t.stub.UploadDataset(iter(parts(TABLE[100:], offset=100)))
        assert (reply.existed, dict(reply.dataset.report.class_counts)) == (False, {"good": 20, "bad": 20})
        assert (reply.dataset.columns.text, reply.dataset.columns.target) == ("text", "label")
        again = await t.stub.UploadDataset(iter(parts(TABLE)))
        assert (again.existed, again.dataset.id) == (True, reply.dataset.id)


async def test_other_bytes_than_announced_are_refused_by_the_real_store(tmp_path: Path) -> None:
    async with tuning(DatasetStore(tmp_path)) as t:
        assert "more bytes" in await refused(t.stub.UploadDataset(iter(parts(TABLE, size=10))), "chunk")
        wrong = parts(TABLE, sha256="b" * 64)
        assert "another digest" in await refused(t.stub.UploadDataset(iter(wrong)), "header.sha256")
        await refused(t.stub.UploadDataset(iter([header(sha256="xyz")])), "header.sha256")
        await refused(t.stub.UploadDataset(iter([header(size_bytes=0)])), "header.size_bytes")
        await refused(t.stub.UploadDataset(iter([header(offset=9)])), "header.offset")
        await refused(t.stub.UploadDataset(iter([header(file_name="a.exe")])), "header.file_name")
        await refused(t.stub.UploadDataset(iter([header(display_name="x" * 129)])), "header.display_name")
