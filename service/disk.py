"""Finds out which disk an error means that says "no space".

`ZOO_HOME` is not the only place that can be full: temporary files, shared memory and files of libraries may lie on other disks,
where freeing space in `ZOO_HOME` does not help.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
LEAST_FREE = 16 * 1024 * 1024
"""Bytes. A disk with less free space counts as full."""
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # only its free space is read


class FullDisk(Enum):
    """The disk without space; the value is the reason of a job that failed because of it."""

    HOME = "the disk is full; free some space and resume the job"
    TEMPORARY = (
        "the disk of temporary files is full; free some space there, or set TMPDIR to a folder on another one, "
        "and resume the job"
    )
    OTHER = "a disk other than that of ZOO_HOME is full, which the log names; free some space there and resume the job"


def full_disk(error: BaseException, home: Path) -> FullDisk | None:
    """The full disk that an error is about, however it was wrapped; None for other errors."""
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in FULL:
            names = [name for name in (cause.filename, cause.filename2) if isinstance(name, str | bytes | os.PathLike)]
            return _of_paths([Path(os.fsdecode(name)) for name in names], home) if names else _of_room(home)
        # Libraries that write by themselves (safetensors, pyarrow) put the system's message into errors of their own.
        text = str(cause)
        if "No space left on device" in text or "os error 28" in text or "Disk quota exceeded" in text:
            return _of_room(home)
    return None


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has hardly any free space."""
    try:
        return shutil.disk_usage(folder).free < LEAST_FREE
    except OSError:
        return False


def _of_paths(paths: list[Path], home: Path) -> FullDisk:
    devices = {_device(path) for path in paths}
    if _device(home) in devices:
        return FullDisk.HOME
    return FullDisk.TEMPORARY if _device(_temporary()) in devices else FullDisk.OTHER


def _of_room(home: Path) -> FullDisk:
    """The full disk for an error without a path, judged by free space. The file that failed may have been deleted since, so the
    home's disk, which takes nearly all writes, is meant unless another disk is full and it is not."""
    if not is_full(home):
        mine, temporary = _device(home), _temporary()
        if _device(temporary) != mine and is_full(temporary):
            return FullDisk.TEMPORARY
        if _device(SHARED_MEMORY) != mine and is_full(SHARED_MEMORY):
            return FullDisk.OTHER
    return FullDisk.HOME


def _device(path: Path) -> int:
    """The device of a path, or of its nearest existing parent."""
    path = path.absolute()
    for there in (path, *path.parents):
        try:
            return there.stat().st_dev
        except OSError:
            continue
    return -1


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # there is no folder for temporary files
        return Path("/")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
