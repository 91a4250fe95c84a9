"""An error about a full disk names the right disk."""

import errno
from pathlib import Path

import pytest

from service import disk
from service.disk import FullDisk, full_disk

DEVICES = {"home": 1, "tmp": 2, "other": 3}


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Three disks, `/home`, `/tmp` and `/other`; those in the set are full."""
    full: set[str] = set()
    monkeypatch.setattr(disk, "_device", lambda path: DEVICES.get(path.parts[1], 0))
    monkeypatch.setattr(disk, "is_full", lambda path: path.parts[1] in full)
    monkeypatch.setattr(disk.tempfile, "gettempdir", lambda: "/tmp")
    return full


def wrapped(error: BaseException) -> BaseException:
    """An error as a library wraps it."""
    outer = RuntimeError("the writer failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/a", FullDisk.HOME),
        ("/tmp/a", FullDisk.TEMPORARY),
        ("/other/a", FullDisk.OTHER),
        (b"/tmp/a", FullDisk.TEMPORARY),
    ],
)
def test_error_with_a_path_means_the_disk_of_the_path(
    disks: set[str], number: int, path: str | bytes, expected: FullDisk
) -> None:
    error = OSError(number, "No space left on device", path)
    assert full_disk(error, Path("/home")) is expected
    assert full_disk(wrapped(error), Path("/home")) is expected


@pytest.mark.parametrize(
    ("full", "expected"),
    [
        ([], FullDisk.HOME),  # the failed file was deleted, and nearly all is written there
        (["home"], FullDisk.HOME),
        (["home", "tmp"], FullDisk.HOME),
        (["tmp"], FullDisk.TEMPORARY),
    ],
)
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
        wrapped(OSError(errno.EDQUOT, "Disk quota exceeded")),
    ],
)
def test_error_without_a_path_means_the_full_disk(
    disks: set[str], full: list[str], expected: FullDisk, error: BaseException
) -> None:
    disks.update(full)
    assert full_disk(error, Path("/home")) is expected


@pytest.mark.parametrize(
    "error", [OSError(errno.EPIPE, "Broken pipe"), OSError(errno.EIO, "x"), ValueError("full"), OSError("x")]
)
def test_other_errors_mean_no_full_disk(disks: set[str], error: BaseException) -> None:
    disks.add("home")
    assert full_disk(error, Path("/home")) is None


def test_reasons_name_no_path_of_the_server() -> None:
    assert all("/" not in reason.value for reason in FullDisk)
