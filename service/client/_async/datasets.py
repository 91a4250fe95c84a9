"""Datasets: uploads that continue after a break, and what the server stores."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from service.client._async.connection import AsyncConnection
from service.client.backoff import Backoff
from service.client.channel import CALL_TIMEOUT_S
from service.client.concurrency import async_sleep, run_in_thread
from service.client.datasets import Columns, Dataset, kind_value, read_dataset
from service.client.errors import ZooClientError
from service.client.message_fields import build
from service.client.upload import Progress, Source, describe_source, messages, opened, refuse_blank, upload_header
from service.pb import fine_tuning_pb2 as pb


class AsyncDatasets:
    """Uploads, lists and deletes datasets."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def upload(
        self,
        data: str | Path,
        kind: str,
        columns: Columns | Mapping[str, str] | None,
        display_name: str,
        task: str,
        progress: Progress,
        timeout: float | None,
    ) -> Dataset:
        """Stores a file, a folder or the content of a URI; returns once it is validated."""
        refuse_blank(data)
        header = upload_header(display_name, kind, columns, task)
        if isinstance(data, str) and "://" in data:
            header.MergeFrom(build(pb.UploadHeader, uri=data))
            return await self._send(iter([pb.UploadDatasetRequest(header=header)]), timeout)
        source = await run_in_thread(opened, Path(data), progress)
        with source:
            describe_source(header, source)
            return await self._send_source(source, header, progress, timeout)

    async def list_all(self, kind: str, timeout: float | None) -> AsyncIterator[Dataset]:
        """All datasets of a kind, newest first, page by page. `timeout` is for each page."""
        token = ""
        while True:
            request = pb.ListDatasetsRequest(page_token=token, kind=kind_value(kind))
            reply = await self._connection.call(self._connection.fine_tuning.ListDatasets, request, timeout)
            for dataset in reply.datasets:
                yield read_dataset(dataset)
            token = reply.next_page_token
            if not token:
                return

    async def get(self, dataset_id: str, timeout: float | None) -> Dataset:
        """One dataset with its report."""
        request = build(pb.GetDatasetRequest, id=dataset_id)
        reply = await self._connection.call(self._connection.fine_tuning.GetDataset, request, timeout)
        return read_dataset(reply.dataset)

    async def delete(self, dataset_id: str, force: bool, timeout: float | None) -> int:
        """Deletes a dataset; returns the freed bytes."""
        request = build(pb.DeleteDatasetRequest, id=dataset_id, force=force)
        reply = await self._connection.call(self._connection.fine_tuning.DeleteDataset, request, timeout)
        return int(reply.freed_bytes)

    async def _send_source(
        self, source: Source, header: pb.UploadHeader, progress: Progress, timeout: float | None
    ) -> Dataset:
        """Sends what the server lacks, again after each break until attempts without progress are used up."""
        backoff = Backoff(self._connection.retry)
        received = offset = await self._received(source.sha256)
        backoff.reset()
        while True:
            try:
                if offset < 0:
                    offset = await self._received(source.sha256)
                if offset > received:
                    received = offset
                    backoff.reset()
                stored = await self._send(messages(source, header, offset, progress), timeout)
                return replace(stored, left_out=source.left_out)
            except ZooClientError as error:
                offset = -1  # unknown until GetUpload returns it
                pause_s = backoff.next_pause(error)
            await async_sleep(pause_s)

    async def _received(self, sha256: str) -> int:
        """How many bytes of an upload the server has."""
        request = pb.GetUploadRequest(sha256=sha256)
        reply = await self._connection.call(self._connection.fine_tuning.GetUpload, request, CALL_TIMEOUT_S)
        return int(reply.received_bytes)

    async def _send(self, parts: Iterator[pb.UploadDatasetRequest], timeout: float | None) -> Dataset:
        failures: list[Exception] = []

        async def requests() -> AsyncIterator[pb.UploadDatasetRequest]:  # must not raise: gRPC iterates it
            try:
                while (part := await run_in_thread(next, parts, None)) is not None:
                    yield part
            except Exception as error:
                failures.append(error)

        try:
            reply = await self._connection.call(self._connection.fine_tuning.UploadDataset, requests(), timeout)
        except ZooClientError:
            if failures:  # the server rejected an upload that ended early
                raise failures[0] from None
            raise
        return read_dataset(reply.dataset, existed=reply.existed)
