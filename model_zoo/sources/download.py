"""One URL → one verified file, over a network that breaks.

Bytes go to ``<file>.part`` and stay there when the transfer breaks off, so the next attempt, in this process or a
later one, asks for the rest only (RFC 9110, section 14, range requests). The name ``<file>`` appears by rename once
the sha256 is right.
"""

import shutil
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from model_zoo.errors import DigestMismatch, SourceUnavailable
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import check_file

__all__ = ["Expected", "download"]

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)  # seconds; 60 of them without a single byte
_FRUITLESS_ATTEMPTS = 4  # in a row; an attempt that brought bytes does not count


class Expected:
    """What the file must be: its name, its exact size in bytes, its sha256."""

    def __init__(self, name: str, size: int, sha256: str) -> None:
        self.name = name
        self.size = size
        self.sha256 = sha256


class _Broken(Exception):
    """This attempt failed in a way that another attempt may not."""


def download(
    url: str,
    target: Path,
    expected: Expected,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Fetch ``url`` into ``target``, resuming ``<target>.part`` if there is one.

    Proxies and certificates come from the environment (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``, …). One
    caller per target at a time: the store holds a lock.

    Args:
        url: ``https``, ``http`` or ``file``.
        target: final path; replaced if it exists.
        expected: the content that is accepted; a longer answer is cut off as soon as it is known to be too long.
        progress: told about every piece.
        sleep: waits that many seconds before another attempt; tests hand in their own.

    Raises:
        SourceUnavailable: no connection, an error status, or a local file that is not there.
        DigestMismatch: the complete file is a wrong one; ``.part`` has been removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.exists() and part.stat().st_size > 0
    try:
        _complete(url, part, expected, progress, sleep)
        check_file(part, expected.sha256, expected.name)
    except DigestMismatch:
        # What an earlier run left may be at fault rather than the source: once more, from the first byte.
        if not resumed:
            raise
        _complete(url, part, expected, progress, sleep)
        check_file(part, expected.sha256, expected.name)
    part.replace(target)


def _complete(
    url: str, part: Path, expected: Expected, progress: Progress | None, sleep: Callable[[float], None]
) -> None:
    """Attempt until ``part`` has its full length, or the source proves to have another file."""
    if urlsplit(url).scheme == "file":
        _copy(url, part, expected, progress)
        return
    fruitless = 0
    with httpx.Client(verify=_tls(), follow_redirects=True, timeout=_TIMEOUT) as client:
        while True:
            before = part.stat().st_size if part.exists() else 0
            try:
                _attempt(client, url, part, expected, progress)
                return
            except (httpx.TransportError, _Broken) as error:
                now = part.stat().st_size if part.exists() else 0
                fruitless = 0 if now > before else fruitless + 1
                if fruitless >= _FRUITLESS_ATTEMPTS:
                    reason = str(error) or type(error).__name__
                    raise SourceUnavailable(expected.name, f"{_host(url)} does not answer ({reason})") from error
                sleep(0.5 * 2**fruitless)


def _attempt(client: httpx.Client, url: str, part: Path, expected: Expected, progress: Progress | None) -> None:
    """One request for what is missing; returns once ``part`` is as complete as the source can make it."""
    have = part.stat().st_size if part.exists() else 0
    if have > expected.size:
        part.unlink()
        have = 0
    if have == expected.size:
        return
    # Identity: a range counts bytes of the encoded body, so a compressed answer could not be continued.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with client.stream("GET", url, headers=headers) as response:
        _refuse(response, url, expected.name)
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise _Broken("the partial file does not fit the source")
        continued = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        if not continued:
            have = 0  # the server sends all of it: start over
        with part.open("ab" if continued else "wb") as handle:
            for piece in response.iter_raw():  # as it arrives: what is gathered first would be lost with the connection
                handle.write(piece)
                have += len(piece)
                if progress is not None:
                    progress(min(have, expected.size), expected.size, expected.name)
                if have > expected.size:
                    break  # wrong file; do not let it fill the disk
    # An answer that states its own end has arrived whole, or httpx had raised: if it is short, so is the file.
    states_its_end = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
    if have < expected.size and not states_its_end:
        raise _Broken("the connection closed early")


def _refuse(response: httpx.Response, url: str, name: str) -> None:
    status = response.status_code
    if status in _TRANSIENT_STATUS:
        raise _Broken(f"status {status}")
    if status in (401, 403, 407):
        raise SourceUnavailable(name, f"{_host(url)} refuses access (status {status})")
    if status in (404, 410):
        raise SourceUnavailable(name, f"{_host(url)} does not have it (status {status})")
    if status not in (200, 206, 416):
        raise SourceUnavailable(name, f"{_host(url)} answered with status {status}")


def _copy(url: str, part: Path, expected: Expected, progress: Progress | None) -> None:
    local = Path(url2pathname(urlsplit(url).path))
    try:
        shutil.copyfile(local, part)
    except OSError as error:
        raise SourceUnavailable(expected.name, "the local index does not have the file it lists") from error
    if progress is not None:
        progress(expected.size, expected.size, expected.name)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the source"


def _tls() -> ssl.SSLContext:
    """Certificates of ``SSL_CERT_FILE`` / ``SSL_CERT_DIR`` or of the system; certifi's where a system has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not paths.capath:
        import certifi

        context.load_verify_locations(certifi.where())
    return context
