"""The dataset methods of `zoo.v1.FineTuning`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from service.access.principal import current_principal
from service.datasets.dataset_store import CHUNK, DatasetStore, UploadResult
from service.errors import InvalidInput
from service.pb import fine_tuning_pb2 as pb
from service.pb import fine_tuning_pb2_grpc
from service.wire.calls import Context
from service.wire.stopping import Stopping
from service.wire.zoo_v1.datasets_convert import (
    check_uri_header,
    read_columns,
    read_header,
    read_kind,
    write_dataset,
    write_entry,
)
from service.wire.zoo_v1.jobs import required
from service.wire.zoo_v1.owner import is_private, own_dataset, owner_of, quota_of_caller
from service.wire.zoo_v1.pages import page_size, read_token, write_token

Parts = AsyncIterator[pb.UploadDatasetRequest]


class DatasetCalls(fine_tuning_pb2_grpc.FineTuningServicer):
    """Uploads, shows and deletes datasets."""

    _datasets: DatasetStore
    _stopping: Stopping

    async def UploadDataset(self, request_iterator: Parts, context: Context) -> pb.UploadDatasetResponse:  # noqa: N802
        """See fine_tuning.proto. A chunk is read when the chunk before is on disk, so HTTP/2 slows down a fast sender."""
        owner = owner_of(context)
        async with aclosing(self._stopping.each(request_iterator)) as parts:
            header = await _header(parts)
            stored = await (self._fetch if header.uri else self._receive)(header, parts, owner)
        return pb.UploadDatasetResponse(dataset=write_dataset(stored.info), existed=stored.existed)

    async def _receive(self, header: pb.UploadHeader, parts: Parts, owner: str) -> UploadResult:
        """The bytes of a caller who leaves stay, so that the upload can be resumed."""
        upload = await self._datasets.begin(read_header(header, owner, private=is_private()), quota_of_caller())
        try:
            if upload.existing is None:  # otherwise the answer is known and does not wait for the bytes
                async for chunk in _chunks(parts):
                    await self._datasets.append(upload, chunk)
            return await self._stopping.first(self._datasets.finish(upload))
        finally:
            await self._datasets.abandon(upload)

    async def _fetch(self, header: pb.UploadHeader, parts: Parts, owner: str) -> UploadResult:
        check_uri_header(header)
        async for _ in _chunks(parts):
            raise InvalidInput("chunk", "came after a header with a uri, which no bytes follow")
        fetching = self._datasets.from_uri(
            header.uri,
            kind=read_kind(header.kind, "header.kind"),
            columns=read_columns(header.columns),
            display_name=header.display_name,
            owner=owner,
            task=header.task,
            private=is_private(),
            quota=quota_of_caller(),
        )
        return await self._stopping.first(fetching)

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:  # noqa: N802
        """See fine_tuning.proto."""
        sha256 = required(request.sha256, "sha256").lower()
        received = await self._datasets.received(sha256, owner_of(context) if is_private() else "")
        return pb.GetUploadResponse(received_bytes=received)

    async def GetDataset(self, request: pb.GetDatasetRequest, context: Context) -> pb.GetDatasetResponse:  # noqa: N802
        """See fine_tuning.proto."""
        return pb.GetDatasetResponse(dataset=write_entry(await own_dataset(self._datasets, required(request.id))))

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Context) -> pb.ListDatasetsResponse:  # noqa: N802
        """See fine_tuning.proto."""
        filters = ("datasets", request.kind)
        principal = current_principal.get()
        page = await self._datasets.list(
            page_size(request.page_size),
            read_token(request.page_token, *filters),
            read_kind(request.kind, "kind"),
            None if principal.owns("") else principal.name,
        )
        return pb.ListDatasetsResponse(
            datasets=[write_entry(entry, whole=False) for entry in page.datasets],
            next_page_token=write_token(page.next, *filters),
        )

    async def DeleteDataset(  # noqa: N802
        self, request: pb.DeleteDatasetRequest, context: Context
    ) -> pb.DeleteDatasetResponse:
        """See fine_tuning.proto."""
        found = await own_dataset(self._datasets, required(request.id))
        freed = await self._datasets.delete(found.id, force=request.force)
        return pb.DeleteDatasetResponse(freed_bytes=freed)


async def _header(parts: Parts) -> pb.UploadHeader:
    """The header in the first message. Raises InvalidInput where there is none."""
    async for part in parts:
        if not part.HasField("header"):
            raise InvalidInput("header", "expected the header in the first message, got none")
        return part.header
    raise InvalidInput("header", "is required, and the stream ended without one")


async def _chunks(parts: Parts) -> AsyncIterator[bytes]:
    """The bytes of all further messages. Raises InvalidInput for a second header and for a chunk that is too large."""
    async for part in parts:
        if part.HasField("header"):
            raise InvalidInput("header", "came a second time; after the first message only bytes may follow")
        if len(part.chunk) > CHUNK:
            raise InvalidInput("chunk", f"expected at most {CHUNK} bytes in a message, got {len(part.chunk)}")
        yield part.chunk
