"""Users' data on this machine: uploads come in, are validated by a child, and lie below `ZOO_HOME/datasets/` for good.

    begin ──append…──► finish ──child validates──► staging/dataset ──rename──► datasets/<id>
                  └──► abandon, or the connection breaks: the part stays, and a later `begin` goes on at its end

A dataset is named by its bytes and by how they are to be read, so the same request twice is one dataset. It appears by
rename, complete, and is never edited. All of this runs on the event loop; work on files is done in threads.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog

from model_zoo import strict_json
from service.datasets.damaged_datasets import DamagedDataset, read_dataset
from service.datasets.dataset import DATASETS, Columns, DatasetInfo, DatasetKind, Skipped, dataset_folder
from service.datasets.dataset_limits import MIB, DatasetLimits
from service.datasets.library import InUse, Library, never_in_use
from service.datasets.overrides import overrides_for_task
from service.datasets.upload import (
    remote,
    staging,
    uploads,
    validator_process,
)
from service.datasets.upload.header import (
    UploadHeader,
    check_header,
    check_name,
    check_sha256,
    dataset_id_of,
)
from service.datasets.validation.validate import (
    DATASET,
    DISK_FULL_ERRNOS,
    REQUEST_FILE,
    ValidationRequest,
)
from service.errors import InvalidInput, NotReady, StorageFull

CHUNK = 4 * MIB
"""Largest piece of an upload."""
TAKEOVER_AFTER_S = 10.0
"""After so long without a byte an upload may be taken over by another call: its connection is probably gone."""
RESERVED_DISK_BYTES = 64 * MIB
"""Disk space that an upload leaves to others."""
MAX_CONCURRENT = 2
"""Children that validate at the same time; and places that are read from."""

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class UploadSession:
    """One call that brings data. `existing` is set where the server has the dataset already: nothing need be sent then."""

    header: UploadHeader
    id: str
    existing: DatasetInfo | None = None
    part: uploads.PartialUpload | None = None
    busy: bool = False
    touched: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class UploadResult:
    """A dataset that can be used."""

    info: DatasetInfo
    existed: bool


class DatasetStore(Library):
    """All datasets of one home."""

    def __init__(
        self,
        home: Path,
        limits: DatasetLimits | None = None,
        *,
        roots: Sequence[str] = (),
        in_use: InUse = never_in_use,
    ) -> None:
        """`roots`: URIs below which `from_uri` may read. `in_use` says whether a job needs a dataset. Touches no file."""
        super().__init__(home, in_use)
        self._limits = limits or DatasetLimits()
        self._roots = tuple(roots)
        self._active: dict[str, UploadSession] = {}  # by sha256; only on the event loop
        self._validating, self._fetching = asyncio.Semaphore(MAX_CONCURRENT), asyncio.Semaphore(MAX_CONCURRENT)
        self._sizes: dict[str, int] = {}

    async def start(self) -> None:
        """Remove what a killed process left behind. Unfinished uploads of the last day stay."""
        await asyncio.to_thread(self._clean)

    def _clean(self) -> None:
        staging.remove_abandoned(self._home)
        staging.remove_orphans(self._home)
        uploads.remove_stale(self._home)

    # ── uploads ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def received(self, sha256: str) -> int:
        """How many bytes of an upload are here. Raises InvalidInput unless it is a sha256 in hexadecimal."""
        check_sha256("sha256", sha256)
        return await asyncio.to_thread(uploads.received, self._home, sha256)

    async def begin(self, header: UploadHeader) -> UploadSession:
        """Check a header and open the upload. Every upload must be brought to `finish` or `abandon`.

        Raises InvalidInput for a wrong header (`header.offset` says where to go on), NotReady while another call brings the
        same bytes, StorageFull.
        """
        check_header(header, self._limits)
        dataset_id = dataset_id_of(header)
        existing = await self._whole(dataset_id)
        if existing is not None:
            return UploadSession(header, dataset_id, existing=existing)
        self._take_over(header.sha256)
        await asyncio.to_thread(self._check_room, header)
        part = await _owned(_close, uploads.open_part, self._home, header.sha256, header.offset)
        if part is None:
            raise NotReady("another call brings the same data at this moment", uploads.RETRY_S)
        upload = UploadSession(header, dataset_id, part=part)
        self._active[header.sha256] = upload
        return upload

    def _take_over(self, sha256: str) -> None:
        """Closes an upload of the same bytes that nothing comes from any more."""
        other = self._active.get(sha256)
        if other is not None and not other.busy and time.monotonic() - other.touched > TAKEOVER_AFTER_S:
            self._release(other)

    def _check_room(self, header: UploadHeader) -> None:
        uploads.remove_stale(self._home)
        self._home.mkdir(parents=True, exist_ok=True)
        coming = header.size_bytes - header.offset
        if shutil.disk_usage(self._home).free < coming + RESERVED_DISK_BYTES:
            raise StorageFull(f"the disk has no room for {coming} bytes more")
        most = self._limits.total_bytes
        if most and self._used() + coming > most:
            raise StorageFull(f"datasets and uploads may take {most // MIB} MiB together; delete some to make room")

    def _used(self) -> int:
        """Bytes of all datasets and uploads."""
        folders = [folder for folder in (self._home / DATASETS).glob("[0-9a-f]*") if folder.is_dir()]
        self._sizes = {f.name: self._sizes.get(f.name) or staging.tree_size(f) for f in folders}
        return sum(self._sizes.values()) + staging.tree_size(self._home / uploads.UPLOADS)

    async def append(self, upload: UploadSession, chunk: bytes) -> None:
        """The next bytes. Raises InvalidInput for too many, StorageFull (the upload is gone then), NotReady if taken over."""
        if upload.existing is not None:
            return
        part = _held(upload)
        if len(chunk) > CHUNK:
            raise InvalidInput("chunk", f"expected at most {CHUNK} bytes, got {len(chunk)}")
        if part.size + len(chunk) > upload.header.size_bytes:
            raise InvalidInput("chunk", f"more bytes came than the {upload.header.size_bytes} of header.size_bytes")
        upload.busy = True
        try:
            await asyncio.to_thread(part.append, chunk)
        except OSError as error:
            await asyncio.to_thread(part.remove)
            self._release(upload)
            raise _full(error) from None
        finally:
            upload.busy = False
            upload.touched = time.monotonic()

    async def abandon(self, upload: UploadSession) -> None:
        """The call is over before its data were; what came stays for another to go on with. Safe to call at any time."""
        self._release(upload)

    def _release(self, upload: UploadSession) -> None:
        if upload.part is not None:
            upload.part.close()
        if self._active.get(upload.header.sha256) is upload:
            del self._active[upload.header.sha256]

    async def finish(self, upload: UploadSession) -> UploadResult:
        """All bytes are here: check them, and make them a dataset. A cancelled call leaves the bytes, and nothing else.

        Raises InvalidInput where bytes are missing, where they are others than the header says (they are gone then), or
        where nothing can be learned from them (they stay for a day, so that other columns can be tried); StorageFull.
        """
        if upload.existing is not None:
            return UploadResult(upload.existing, existed=True)
        part, header = _held(upload), upload.header
        upload.busy = True
        try:
            if part.size < header.size_bytes:
                raise InvalidInput(
                    "chunk", f"{part.size} of {header.size_bytes} bytes came; go on with offset {part.size}"
                )
            if await asyncio.to_thread(part.sha256) != header.sha256:
                await asyncio.to_thread(part.remove)
                raise InvalidInput("header.sha256", "the bytes that came have another digest; they were thrown away")
            try:
                stored = await self._make(upload.id, header, part.path, "")
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
    ) -> UploadResult:
        """Fetch data that lie under one of the roots, a file or a folder, and make them a dataset.

        Raises InvalidInput (`header.uri`) for another place or for data that cannot be used, NotReady where the place does
        not answer, StorageFull.
        """
        remote.check_allowed(uri, self._roots)
        check_name(display_name)
        overrides_for_task(task, kind)
        path = self._home / uploads.UPLOADS / f".fetch-{uuid.uuid4().hex}.part"
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        stop = threading.Event()
        try:
            async with self._fetching:  # a store that hangs must not take all threads that others need
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
            )
            existing = await self._whole(dataset_id_of(header))
            if existing is not None:
                return UploadResult(existing, existed=True)
            left_out = tuple(Skipped(file=one.name, reason=one.reason) for one in fetched.left_out)
            return await self._make(dataset_id_of(header), header, path, uri, left_out)
        except OSError as error:
            raise _full(error) from None
        finally:
            stop.set()
            path.unlink(missing_ok=True)

    async def _whole(self, dataset_id: str) -> DatasetInfo | None:
        """A dataset that is here and can be used; a damaged one is made again from the same bytes."""
        found = await asyncio.to_thread(self._read, dataset_id)
        return found if isinstance(found, DatasetInfo) else None

    async def _make(
        self, dataset_id: str, header: UploadHeader, data: Path, uri: str, left_out: tuple[Skipped, ...] = ()
    ) -> UploadResult:
        """Validate in a child and publish."""
        async with self._validating:
            try:
                folder = await _owned(staging.StagingFolder.remove, staging.StagingFolder, self._home)
            except OSError as error:
                raise _full(error) from None
            try:
                order = ValidationRequest(
                    id=dataset_id,
                    data=data,
                    file_name=header.file_name,
                    sha256=header.sha256,
                    size_bytes=header.size_bytes,
                    kind=header.kind,
                    task=header.task,
                    columns=header.columns,
                    display_name=header.display_name,
                    uri=uri,
                    owner=header.owner,
                    limits=self._limits,
                    left_out=left_out,
                )
                (folder.folder / REQUEST_FILE).write_text(strict_json.text(order), encoding="utf-8")
                await validator_process.run(folder.folder, self._limits)
                existed = await asyncio.to_thread(self._publish, folder.folder / DATASET, dataset_id)
            except OSError as error:
                raise _full(error) from None
            finally:
                await asyncio.to_thread(folder.remove)
        info = await self.get(dataset_id)
        _log.info("dataset_stored", dataset=dataset_id, kind=info.kind, examples=info.report.examples, existed=existed)
        return UploadResult(info, existed)

    def _publish(self, made: Path, dataset_id: str) -> bool:
        """Rename into place, where a damaged one makes room; gives whether somebody was faster."""
        place = dataset_folder(self._home, dataset_id)
        if isinstance(read_dataset(self._home, dataset_id), DamagedDataset):
            grave = place.with_name(f"{staging.DELETED}{uuid.uuid4().hex}")
            with suppress(FileNotFoundError):
                place.rename(grave)
            staging.remove_path(grave)
        try:
            made.rename(place)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return True
            raise
        return False


async def _owned(undo: Callable[[T], None], make: Callable[..., T], *arguments: object) -> T:
    """`make` in a thread; what it made is undone where the caller was cancelled meanwhile, so that no lock is left held."""
    making = asyncio.ensure_future(asyncio.to_thread(make, *arguments))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(lambda made: None if made.cancelled() or made.exception() else undo(made.result()))
        raise


def _close(part: uploads.PartialUpload | None) -> None:
    if part is not None:
        part.close()


def _held(upload: UploadSession) -> uploads.PartialUpload:
    assert upload.part is not None
    return upload.part


def _full(error: OSError) -> Exception:
    """What an error of the disk is to a caller."""
    if error.errno in DISK_FULL_ERRNOS:
        return StorageFull("the disk has no room for the data; what came of them was removed")
    return error
