"""Users' data on this machine: receives uploads, has a child process validate them, and stores them in `ZOO_HOME/datasets/`.

    begin ──append…──► finish ──child validates──► staging/dataset ──rename──► datasets/<id>
                  └──► abandon, or a broken connection: the part stays, and a later `begin` continues at its end

The id of a dataset is a digest of its bytes and of how they are to be read, so the same request twice gives one dataset. It
appears by rename, complete, and is never edited. The store lives on the event loop; work on files runs in threads.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from service.datasets.dataset import DATASETS, Columns, DatasetInfo, DatasetKind, Skipped
from service.datasets.dataset_limits import MIB, DatasetLimits, OwnerQuota
from service.datasets.library import InUse, Library, never_in_use
from service.datasets.overrides import overrides_for_task
from service.datasets.upload import remote, staging, uploads
from service.datasets.upload.header import (
    UploadHeader,
    check_header,
    check_name,
    check_sha256,
    dataset_id_of,
    owner_prefix,
    part_name,
)
from service.datasets.upload.publisher import DatasetPublisher, make_or_undo, storage_error
from service.errors import InvalidInput, NotReady, QuotaExceeded, StorageFull

CHUNK = 4 * MIB
"""Maximum size of one chunk of an upload, in bytes."""
TAKEOVER_AFTER_S = 10.0
"""An upload without new bytes for this long may be taken over by another call, since its connection is probably gone."""
RESERVED_DISK_BYTES = 64 * MIB
"""Free disk space that an upload must leave."""
MAX_FETCHES = 2
"""URIs that are fetched at the same time."""

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class UploadSession:
    """One call that uploads data. `existing` is set if the server already has the dataset; then nothing need be sent."""

    header: UploadHeader
    id: str
    existing: DatasetInfo | None = None
    part: uploads.PartialUpload | None = None
    busy: bool = False
    last_active: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class UploadResult:
    """The stored dataset, and whether it existed before the call."""

    info: DatasetInfo
    existed: bool


class DatasetStore(Library):
    """All datasets of one home, and the uploads in progress."""

    def __init__(
        self,
        home: Path,
        limits: DatasetLimits | None = None,
        *,
        roots: Sequence[str] = (),
        in_use: InUse = never_in_use,
    ) -> None:
        """`roots`: URIs below which `from_uri` may read. `in_use` tells whether a job needs a dataset. Touches no file."""
        super().__init__(home, in_use)
        self._limits = limits or DatasetLimits()
        self._roots = tuple(roots)
        self._active: dict[str, UploadSession] = {}  # by the name of the part; only on the event loop
        self._opening = asyncio.Lock()
        self._publisher = DatasetPublisher(self._home, self._limits)
        self._fetching = asyncio.Semaphore(MAX_FETCHES)
        self._sizes: dict[str, int] = {}

    async def start(self) -> None:
        """Delete what killed processes left behind. Unfinished uploads of the last day stay."""
        await asyncio.to_thread(self._clean)

    def _clean(self) -> None:
        staging.remove_abandoned(self._home)
        staging.remove_orphans(self._home)
        uploads.remove_stale(self._home)

    # ── uploads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def received(self, sha256: str, private_owner: str = "") -> int:
        """The bytes received of an upload; see `part_name`. Raises InvalidInput unless `sha256` is a hexadecimal SHA-256."""
        check_sha256("sha256", sha256)
        return await asyncio.to_thread(uploads.received, self._home, part_name(sha256, private_owner))

    async def begin(self, header: UploadHeader, quota: OwnerQuota | None = None) -> UploadSession:
        """Check a header and open the upload. The caller must end every upload with `finish` or `abandon`.

        Raises InvalidInput for a wrong header (the error for `header.offset` says where to continue), NotReady while another call
        uploads the same bytes, StorageFull, QuotaExceeded.
        """
        check_header(header, self._limits)
        dataset_id = dataset_id_of(header)
        existing = await self._intact(dataset_id)
        if existing is not None:
            return UploadSession(header, dataset_id, existing=existing)
        async with self._opening:  # two uploads that begin at once see each other
            self._take_over(header.part)
            await self._check_quota(header.owner, header.size_bytes, quota, besides=header.part)
            await asyncio.to_thread(self._check_capacity, header)
            part = await make_or_undo(_close, uploads.open_part, self._home, header.part, header.offset)
            if part is None:
                raise NotReady("another call is uploading the same data", uploads.RETRY_S)
            upload = UploadSession(header, dataset_id, part=part)
            self._active[header.part] = upload
            return upload

    async def _check_quota(self, owner: str, incoming: int, quota: OwnerQuota | None, besides: str) -> None:
        """Raises QuotaExceeded where one dataset more is too much for its owner. Interrupted uploads count with the bytes that
        are here. `besides`: an upload that does not count."""
        if quota is None or not (quota.datasets or quota.total_bytes):
            return
        stored = [info.size_bytes for info in await asyncio.to_thread(self._all) if info.owner == owner]
        begun = await asyncio.to_thread(uploads.sizes, self._home, owner_prefix(owner))
        begun |= {name: other.header.size_bytes for name, other in self._active.items() if other.header.owner == owner}
        begun.pop(besides, None)
        sizes = stored + list(begun.values())
        if quota.datasets and len(sizes) >= quota.datasets:
            raise QuotaExceeded(
                f"you have {len(sizes)} datasets and uploads, and the limit is {quota.datasets}; delete one first"
            )
        if quota.total_bytes and sum(sizes) + incoming > quota.total_bytes:
            raise QuotaExceeded(
                f"your datasets may take {quota.total_bytes // MIB} MiB together and take {sum(sizes)} bytes now; "
                "delete one first"
            )

    def _take_over(self, part: str) -> None:
        """Closes an idle upload of the same bytes."""
        other = self._active.get(part)
        if other is not None and not other.busy and time.monotonic() - other.last_active > TAKEOVER_AFTER_S:
            self._release(other)

    def _check_capacity(self, header: UploadHeader) -> None:
        uploads.remove_stale(self._home)
        self._home.mkdir(parents=True, exist_ok=True)
        incoming = header.size_bytes - header.offset
        if shutil.disk_usage(self._home).free < incoming + RESERVED_DISK_BYTES:
            raise StorageFull(f"the disk has no room for {incoming} bytes more")
        most = self._limits.total_bytes
        if most and self._used() + incoming > most:
            raise StorageFull(f"datasets and uploads may take {most // MIB} MiB together; delete some to make room")

    def _used(self) -> int:
        """Bytes of all datasets and uploads."""
        folders = [folder for folder in (self._home / DATASETS).glob("[0-9a-f]*") if folder.is_dir()]
        self._sizes = {f.name: self._sizes.get(f.name) or staging.tree_size(f) for f in folders}
        return sum(self._sizes.values()) + staging.tree_size(self._home / uploads.UPLOADS)

    async def append(self, upload: UploadSession, chunk: bytes) -> None:
        """Append the next bytes. Raises InvalidInput for too many, StorageFull (which deletes the upload), NotReady after a
        takeover."""
        if upload.existing is not None:
            return
        part = _part_of(upload)
        if len(chunk) > CHUNK:
            raise InvalidInput("chunk", f"expected at most {CHUNK} bytes, got {len(chunk)}")
        if part.size + len(chunk) > upload.header.size_bytes:
            raise InvalidInput("chunk", f"got more bytes than the {upload.header.size_bytes} of header.size_bytes")
        upload.busy = True
        try:
            await asyncio.to_thread(part.append, chunk)
        except OSError as error:
            await asyncio.to_thread(part.remove)
            self._release(upload)
            raise storage_error(error) from None
        finally:
            upload.busy = False
            upload.last_active = time.monotonic()

    async def abandon(self, upload: UploadSession) -> None:
        """End the call before all bytes are here; the received bytes stay for a later call. Safe to call at any time."""
        self._release(upload)

    def _release(self, upload: UploadSession) -> None:
        if upload.part is not None:
            upload.part.close()
        if self._active.get(upload.header.part) is upload:
            del self._active[upload.header.part]

    async def finish(self, upload: UploadSession) -> UploadResult:
        """Check the bytes and make them a dataset. A cancelled call leaves only the bytes.

        Raises InvalidInput for missing bytes, for bytes with another digest (which deletes them), and for data that a model
        cannot learn from (the bytes stay for a day, so that the caller can try other columns); StorageFull.
        """
        if upload.existing is not None:
            return UploadResult(upload.existing, existed=True)
        part, header = _part_of(upload), upload.header
        upload.busy = True
        try:
            if part.size < header.size_bytes:
                raise InvalidInput(
                    "chunk", f"{part.size} of {header.size_bytes} bytes were received; continue with offset {part.size}"
                )
            if await asyncio.to_thread(part.sha256) != header.sha256:
                await asyncio.to_thread(part.remove)
                raise InvalidInput("header.sha256", "the received bytes have another digest; they were deleted")
            try:
                stored = await self._publish(upload.id, header, part.path)
            except StorageFull:
                await asyncio.to_thread(part.remove)
                raise
            await asyncio.to_thread(part.remove)
            return stored
        finally:
            upload.busy = False
            self._release(upload)

    async def from_uri(
        self,
        uri: str,
        *,
        kind: DatasetKind | None = None,
        columns: Columns | None = None,
        display_name: str = "",
        owner: str = "",
        task: str = "",
        private: bool = False,
        quota: OwnerQuota | None = None,
    ) -> UploadResult:
        """Fetch a file or folder below one of the roots, and make it a dataset. `private`: see UploadHeader.

        Raises InvalidInput (`header.uri`) for another URI or for data that cannot be used, NotReady if its storage does not
        answer, StorageFull, QuotaExceeded.
        """
        remote.check_allowed(uri, self._roots)
        check_name(display_name)
        overrides_for_task(task, kind)
        path = self._home / uploads.UPLOADS / f".fetch-{uuid.uuid4().hex}.part"
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        stop = threading.Event()
        try:
            async with self._fetching:  # a storage that hangs must not occupy all threads
                fetched = await asyncio.to_thread(remote.fetch, uri, self._roots, path, self._limits, stop)
            header = UploadHeader(
                fetched.sha256,
                fetched.size_bytes,
                fetched.file_name,
                0,
                kind,
                columns or Columns(),
                display_name,
                owner,
                task,
                private,
            )
            existing = await self._intact(dataset_id_of(header))
            if existing is not None:
                return UploadResult(existing, existed=True)
            await self._check_quota(owner, fetched.size_bytes, quota, besides="")
            left_out = tuple(Skipped(file=one.name, reason=one.reason) for one in fetched.left_out)
            return await self._publish(dataset_id_of(header), header, path, uri, left_out)
        except OSError as error:
            raise storage_error(error) from None
        finally:
            stop.set()
            path.unlink(missing_ok=True)

    async def _intact(self, dataset_id: str) -> DatasetInfo | None:
        """An existing dataset that can be used. A damaged one counts as absent, so that the same bytes replace it."""
        found = await asyncio.to_thread(self._read, dataset_id)
        return found if isinstance(found, DatasetInfo) else None

    async def _publish(
        self,
        dataset_id: str,
        header: UploadHeader,
        data: Path,
        uri: str = "",
        left_out: tuple[Skipped, ...] = (),
    ) -> UploadResult:
        existed = await self._publisher.publish(dataset_id, header, data, uri, left_out)
        info = await self.get(dataset_id)
        _log.info("dataset_stored", dataset=dataset_id, kind=info.kind, examples=info.report.examples, existed=existed)
        return UploadResult(info, existed)


def _close(part: uploads.PartialUpload | None) -> None:
    if part is not None:
        part.close()


def _part_of(upload: UploadSession) -> uploads.PartialUpload:
    assert upload.part is not None
    return upload.part
