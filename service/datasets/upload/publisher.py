"""Turns uploaded or fetched data into a dataset: validates them in a child process and renames the result into place."""

from __future__ import annotations

import asyncio
import errno
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from model_zoo import strict_json
from service.datasets.damaged_datasets import DamagedDataset, read_dataset
from service.datasets.dataset import Skipped, dataset_folder
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.upload import staging, validator_process
from service.datasets.upload.header import UploadHeader
from service.datasets.validation.validate import DATASET, DISK_FULL_ERRNOS, REQUEST_FILE, ValidationRequest
from service.errors import StorageFull

MAX_CONCURRENT = 2
"""Child processes that validate at the same time."""

T = TypeVar("T")


class DatasetPublisher:
    """Makes datasets of one home. Lives on the event loop; work on files runs in threads."""

    def __init__(self, home: Path, limits: DatasetLimits) -> None:
        self._home = home
        self._limits = limits
        self._slots = asyncio.Semaphore(MAX_CONCURRENT)

    async def publish(
        self, dataset_id: str, header: UploadHeader, data: Path, uri: str = "", left_out: tuple[Skipped, ...] = ()
    ) -> bool:
        """Validate `data` and publish the dataset; returns whether it already existed.

        Raises InvalidInput for data that cannot be used, StorageFull, and InternalError for a failed child process.
        """
        async with self._slots:
            try:
                folder = await make_or_undo(staging.StagingFolder.remove, staging.StagingFolder, self._home)
            except OSError as error:
                raise storage_error(error) from None
            try:
                request = ValidationRequest(
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
                (folder.folder / REQUEST_FILE).write_text(strict_json.text(request), encoding="utf-8")
                await validator_process.run(folder.folder, self._limits)
                return await asyncio.to_thread(self._rename_into_place, folder.folder / DATASET, dataset_id)
            except OSError as error:
                raise storage_error(error) from None
            finally:
                await asyncio.to_thread(folder.remove)

    def _rename_into_place(self, built: Path, dataset_id: str) -> bool:
        """Replaces a damaged dataset; returns whether another call has published the dataset first."""
        folder = dataset_folder(self._home, dataset_id)
        if isinstance(read_dataset(self._home, dataset_id), DamagedDataset):
            grave = folder.with_name(f"{staging.DELETED}{uuid.uuid4().hex}")
            with suppress(FileNotFoundError):
                folder.rename(grave)
            staging.remove_path(grave)
        try:
            built.rename(folder)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return True
            raise
        return False


async def make_or_undo(undo: Callable[[T], None], make: Callable[..., T], *arguments: object) -> T:
    """Call `make` in a thread. If the caller is cancelled meanwhile, `undo` gets the result, so that no lock stays held."""
    making = asyncio.ensure_future(asyncio.to_thread(make, *arguments))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        making.add_done_callback(lambda made: None if made.cancelled() or made.exception() else undo(made.result()))
        raise


def storage_error(error: OSError) -> Exception:
    """The error that a caller gets for an error of the disk."""
    if error.errno in DISK_FULL_ERRNOS:
        return StorageFull("the disk has no room for the data; the received part was deleted")
    return error
