"""Objects of S3 and of Google Cloud Storage, by fsspec and its packages s3fs and gcsfs.

Credentials, regions and endpoints are those of the libraries' own settings (``AWS_…``, ``~/.aws``,
``GOOGLE_APPLICATION_CREDENTIALS``).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from model_zoo.errors import DigestMismatch, SourceNotFound, SourceUnavailable
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import check_file
from model_zoo.sources.download import ExpectedFile

__all__ = ["fetch_object", "object_size"]

T = TypeVar("T")
_CHUNK = 16 << 20
_MOST_ATTEMPTS = 3
"""Of one request; the libraries repeat some failed ones themselves."""
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}


def object_size(url: str, name: str) -> int:
    """Bytes of an object.

    Raises:
        SourceUnavailable: the storage does not answer or refuses access, there is no such object, or a library is missing.
    """
    size = _asked(url, name, lambda storage: storage.info(url).get("size"))
    if not isinstance(size, int):
        raise SourceUnavailable(name, "the storage does not say how large it is")
    return size


def fetch_object(url: str, target: Path, expected: ExpectedFile, progress: Progress | None = None) -> None:
    """Fetch an object into ``target``, in parts; ``<target>.part`` is continued if there is one. Raises as ``object_size``, and
    DigestMismatch."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    if (size := object_size(url, expected.name)) != expected.size:
        raise SourceUnavailable(expected.name, f"the object has {size:,} bytes, and {expected.size:,} are expected")
    resumed = part.exists() and part.stat().st_size > 0
    try:
        _complete(url, part, expected, progress)
        check_file(part, expected.sha256, expected.name)
    except DigestMismatch:
        # The bytes of an earlier run may be wrong rather than the object: try once more, from the first byte.
        if not resumed:
            raise
        _complete(url, part, expected, progress)
        check_file(part, expected.sha256, expected.name)
    part.replace(target)


def _complete(url: str, part: Path, expected: ExpectedFile, progress: Progress | None) -> None:
    """Ask for the missing bytes, a chunk after another."""
    if part.exists() and part.stat().st_size > expected.size:
        part.unlink()
    with part.open("ab") as file:
        while (start := file.tell()) < expected.size:
            end = min(start + _CHUNK, expected.size)
            content: bytes = _asked(url, expected.name, partial(_read, url, start, end))
            if len(content) != end - start:
                raise SourceUnavailable(expected.name, "the storage gives another part than was asked for")
            file.write(content)
            file.flush()
            if progress is not None:
                progress(end, expected.size, expected.name)


def _read(url: str, start: int, end: int, storage: Any) -> bytes:
    return bytes(storage.cat_file(url, start=start, end=end))


def _asked(url: str, name: str, ask: Callable[[Any], T]) -> T:
    scheme = url.partition("://")[0].lower()
    package = _PACKAGES[scheme]
    if find_spec("fsspec") is None or find_spec(package) is None:
        raise SourceUnavailable(name, f"{scheme}:// needs the package {package}; `pip install {package}` installs it")
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        try:
            with _errors(name):
                import fsspec

                return ask(fsspec.filesystem(scheme, use_listings_cache=False))
        except SourceUnavailable as error:
            if isinstance(error, SourceNotFound) or attempt == _MOST_ATTEMPTS:
                raise
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Turns the libraries' errors into SourceUnavailable, in words of ours: their own may name accounts and addresses."""
    try:
        yield
    except SourceUnavailable:
        raise
    except FileNotFoundError as error:
        raise SourceNotFound(name, "the bucket has no such object, or there is no such bucket") from error
    except PermissionError as error:
        raise SourceUnavailable(
            name, "the storage refuses access; its library's settings say as whom it asks"
        ) from error
    except Exception as error:
        raise SourceUnavailable(name, f"the storage does not answer ({type(error).__name__})") from error
