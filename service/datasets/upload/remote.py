"""Data that the server itself fetches with fsspec, from below the roots that its operator allows.

A file is copied. A folder is packed into a tar whose bytes depend only on the names and contents of its files, and is then
treated like an uploaded one. Functions here block; the store calls them in a thread.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import structlog

from service.datasets.dataset_limits import MIB, DatasetLimits
from service.datasets.formatting import quoted
from service.datasets.readers.file_types import file_type
from service.errors import InvalidInput, NotReady, ZooError
from service.folder_walk import LeftOut, look_into

CHUNK = 4 * MIB
RETRY_S = 10.0
FIELD = "header.uri"

_log = structlog.get_logger(__name__)


class FetchCancelled(Exception):
    """The caller has cancelled the fetch."""


@dataclass(frozen=True, slots=True)
class FetchedData:
    """A local copy of the data at a URI."""

    sha256: str
    size_bytes: int
    file_name: str
    left_out: tuple[LeftOut, ...] = ()
    """Files of a folder that were not copied, and why."""


def fetch(uri: str, roots: Sequence[str], into: Path, limits: DatasetLimits, stop: threading.Event) -> FetchedData:
    """Copy the data at `uri` into a file. Raises InvalidInput for a URI outside the roots or without data, NotReady if its
    storage does not answer, OSError for a full disk, FetchCancelled."""
    scheme, path = check_allowed(uri, roots)
    with into.open("wb") as file:
        target = _BoundedWriter(file, limits, stop)
        try:
            return _copy(scheme, path, target, limits)
        except (ZooError, FetchCancelled, _DiskError):
            raise
        except FileNotFoundError:
            raise InvalidInput(FIELD, f"there is nothing at {quoted(uri)}") from None
        except PermissionError:
            raise InvalidInput(FIELD, f"the server may not read {quoted(uri)}") from None
        except Exception as error:
            _log.warning("dataset_fetch_failed", uri=uri, error=repr(error))
            raise NotReady(
                f"the data at {quoted(uri)} cannot be read now; the server's log says why", RETRY_S
            ) from None


def check_allowed(uri: str, roots: Sequence[str]) -> tuple[str, str]:
    """(scheme, path) of a URI below one of the roots. Raises InvalidInput for any other."""
    scheme, separator, path = uri.partition("://")
    if not separator or "::" in uri or "\0" in uri or not path:
        raise InvalidInput(FIELD, f"expected a URI such as s3://bucket/folder, got {quoted(uri)}")
    refused = InvalidInput(
        FIELD,
        f"{quoted(uri)} is under none of the roots that this server reads from ({', '.join(roots) or 'it has none'})",
    )
    asked = PurePosixPath(path)
    if ".." in asked.parts:
        raise refused
    for root in roots:
        root_scheme, _, root_path = root.partition("://")
        if scheme != root_scheme:
            continue
        if scheme == "file":  # links are resolved first, so that none leads out of the roots
            if not path.startswith("/"):
                raise InvalidInput(FIELD, f"expected file:/// and an absolute path, got {quoted(uri)}")
            resolved = Path(path).resolve()
            if resolved.is_relative_to(Path(root_path).resolve()):
                return scheme, str(resolved)
        elif asked.is_relative_to(PurePosixPath(root_path)):
            return scheme, path.rstrip("/")
    raise refused


class _DiskError(OSError):
    """Writing the copy failed, not reading the source."""


class _BoundedWriter(io.RawIOBase):
    """Writes, hashes and counts bytes."""

    def __init__(self, file: IO[bytes], limits: DatasetLimits, stop: threading.Event) -> None:
        self._file = file
        self._limits = limits
        self._stop = stop
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._stop.is_set():
            raise FetchCancelled
        self.size += len(data)
        if self.size > self._limits.dataset_bytes:
            most = self._limits.dataset_bytes // MIB
            raise InvalidInput(FIELD, f"holds more than {most} MiB, which is the limit")
        self._hash.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise _DiskError(error.errno, "writing failed") from None
        return len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _copy(scheme: str, path: str, target: _BoundedWriter, limits: DatasetLimits) -> FetchedData:
    import fsspec

    filesystem = fsspec.filesystem(scheme)
    filesystem.invalidate_cache()  # fsspec caches listings, and would miss new files
    name = PurePosixPath(path).name
    if filesystem.isdir(path):
        left_out = _pack(filesystem, scheme, path, target, limits)
        return FetchedData(target.sha256, target.size, f"{name}.tar", left_out)
    file_type(name)
    if scheme == "file" and not Path(path).is_file():
        raise FileNotFoundError(path)  # or a pipe, on which a read would block
    with filesystem.open(path, "rb") as source:
        while chunk := source.read(CHUNK):
            target.write(chunk)
    return FetchedData(target.sha256, target.size, name)


def _pack(
    filesystem: Any, scheme: str, path: str, target: _BoundedWriter, limits: DatasetLimits
) -> tuple[LeftOut, ...]:
    """Packs a folder. Returns what was left out: links that lead out of it or nowhere, and pipes, on which a read would block."""
    left_out: tuple[LeftOut, ...] = ()
    if scheme == "file":
        folder = look_into(Path(path))
        files = [(name, str(file), file.stat().st_size) for name, file in folder.files]
        left_out = tuple(folder.left_out)
    else:
        below = PurePosixPath(str(filesystem._strip_protocol(path)))
        found = sorted(filesystem.find(path, detail=True).items())
        files = [(str(PurePosixPath(file).relative_to(below)), file, int(detail["size"])) for file, detail in found]
    if len(files) > limits.files:
        raise InvalidInput(FIELD, f"holds {len(files)} files; the limit is {limits.files}")
    with tarfile.open(fileobj=cast(IO[bytes], target), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name, file, size in files:
            member = tarfile.TarInfo(name)
            member.size = size
            with filesystem.open(file, "rb") as source:
                tar.addfile(member, source)
    return left_out
