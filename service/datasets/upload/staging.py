"""Folders in which datasets are built, `ZOO_HOME/datasets/.staging-…`. A folder whose lock nobody holds is abandoned.

Functions here block; the store calls them in threads.
"""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from contextlib import suppress
from pathlib import Path

from service.datasets.dataset import DATASETS, FEATURES, dataset_folder

STAGING, DELETED = ".staging-", ".deleted-"
_LOCK = "lock"


class StagingFolder:
    """One staging folder, held by a lock that ends with its process."""

    def __init__(self, home: Path) -> None:
        """Creates the folder and takes its lock."""
        self.folder = home / DATASETS / f"{STAGING}{uuid.uuid4().hex}"
        self.folder.mkdir(parents=True)
        self._descriptor = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try_lock(self._descriptor)

    def remove(self) -> None:
        """Delete the folder with its content and release the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._descriptor)


def remove_abandoned(home: Path) -> None:
    """Delete what killed processes left behind: staging folders whose lock is free, and half deleted datasets."""
    for folder in (home / DATASETS).glob(f"{DELETED}*"):
        remove_path(folder)
    for folder in (home / DATASETS).glob(f"{STAGING}*"):
        try:
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # just being created or removed
        except OSError:  # a file instead of the folder, or a folder instead of the lock: not made by a server
            remove_path(folder)
            continue
        try:
            if try_lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def remove_orphans(home: Path) -> None:
    """Delete features of datasets that no longer exist: a job may have written some while its dataset was deleted."""
    for folder in (home / FEATURES).glob("*-*"):
        if not dataset_folder(home, folder.name.rpartition("-")[2]).is_dir():
            shutil.rmtree(folder, ignore_errors=True)


def remove_path(path: Path) -> None:
    """Delete a file, link or folder. A path that cannot be deleted stays."""
    shutil.rmtree(path, ignore_errors=True)  # does nothing to a file or a link
    with suppress(OSError):
        path.unlink()


def tree_size(folder: Path) -> int:
    """Bytes of a file, or of all files below a folder, even while others move or delete some."""
    size = 0
    with suppress(OSError):
        if not folder.is_dir():
            return folder.lstat().st_size
    for here, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                size += Path(here, name).lstat().st_size
    return size


def try_lock(descriptor: int) -> bool:
    """Whether this open file now holds its lock, which other processes and other open files respect. Always true on Windows."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
