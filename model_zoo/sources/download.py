"""One URL → one verified file, over an unreliable network.

Bytes go to ``<file>.part`` and stay there if the transfer breaks off. The next attempt, in this process or a later one,
requests the rest only (RFC 9110, section 14, range requests). The name ``<file>`` appears by rename after the sha256 was
checked.
"""

import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from model_zoo.cards.web_address import is_allowed, is_loopback
from model_zoo.errors import DigestMismatch, SourceNotFound, SourceUnavailable
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import check_file

__all__ = ["ExpectedFile", "download", "remote_size", "small_file"]

T = TypeVar("T")

_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT = httpx.Timeout(60.0, connect=15.0)  # seconds; 60 without a single byte
_MAX_FAILED_ATTEMPTS = 4  # in a row; an attempt that made progress does not count
_MOST_ATTEMPTS = 2000
_PROGRESS = 16 << 10  # bytes beyond the most that were ever here
_LEAST_RATE = 1024  # bytes a second, in each window
_WINDOW_S = 60.0
_MOST_REDIRECTS = 5


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def _now() -> float:
    return time.monotonic()


class ExpectedFile:
    """The expected file: its name, its exact size in bytes, its sha256 or the first digits of it."""

    def __init__(self, name: str, size: int, sha256: str) -> None:
        self.name = name
        self.size = size
        self.sha256 = sha256


class _AttemptFailed(Exception):
    """This attempt failed; another attempt may succeed."""


def download(
    url: str,
    target: Path,
    expected: ExpectedFile,
    progress: Progress | None = None,
    sleep: Callable[[float], None] = _pause,
    *,
    secure: bool = False,
) -> None:
    """Fetch ``url`` into ``target``, resuming ``<target>.part`` if there is one.

    Proxies and certificates come from the environment (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``, …). Only one caller at a
    time may write a target: the store holds a lock.

    Args:
        url: ``https``, ``http`` or ``file``.
        target: final path; replaced if it exists.
        expected: the content that is accepted; a longer answer is cut off as soon as it exceeds the size.
        progress: called for every chunk.
        sleep: waits before another attempt, in seconds; tests replace it.
        secure: whether the address, and every one to which it sends us, must be allowed by ``web_address``.

    Raises:
        SourceUnavailable: no connection, an error status, or a missing local file.
        DigestMismatch: the complete file is wrong; ``.part`` has been removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    resumed = part.exists() and part.stat().st_size > 0
    attempt = _Attempts(url, expected.name, sleep, secure)
    try:
        _complete(attempt, part, expected, progress)
        check_file(part, expected.sha256, expected.name)
    except DigestMismatch:
        # The bytes of an earlier run may be wrong rather than the source: try once more, from the first byte.
        if not resumed:
            raise
        _complete(attempt, part, expected, progress)
        check_file(part, expected.sha256, expected.name)
    part.replace(target)


def remote_size(url: str, name: str, sleep: Callable[[float], None] = _pause) -> int:
    """Bytes of a file, as its server states them; the file itself is not read. Addresses must be allowed by ``web_address``.

    Raises:
        SourceUnavailable: no connection, an error status, or an answer that does not state its size.
    """

    def ask(client: httpx.Client) -> int:
        with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            _check_status(response, url, name)
            stated = response.headers.get("Content-Length", "")
        if response.status_code != 200 or not stated.isascii() or not stated.isdigit() or len(stated) > 18:
            raise SourceUnavailable(name, f"{_host(url)} does not say how large it is")
        return int(stated)

    return _Attempts(url, name, sleep, secure=True).until(ask, received=lambda: 0)


def small_file(url: str, name: str, most: int, *, secure: bool, sleep: Callable[[float], None] = _pause) -> bytes:
    """The content of a small file of unknown digest, such as metadata.

    Raises:
        SourceUnavailable: no connection, an error status, or more than ``most`` bytes.
    """

    def read(client: httpx.Client) -> bytes:
        content = bytearray()
        with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response:
            _check_status(response, url, name)
            for chunk in _paced(response):
                content += chunk
                if len(content) > most:
                    raise SourceUnavailable(name, f"{_host(url)} answers with more than {most:,} bytes")
        return bytes(content)

    return _Attempts(url, name, sleep, secure).until(read, received=lambda: 0)


class _Attempts:
    """Repeats an attempt while the network fails."""

    def __init__(self, url: str, name: str, sleep: Callable[[float], None], secure: bool) -> None:
        self.url, self.name = url, name
        self._sleep, self._secure = sleep, secure

    def until(self, attempt: Callable[[httpx.Client], T], received: Callable[[], int]) -> T:
        """The result of the first attempt that succeeds. ``received``: bytes that are here. Progress is more of them than ever:
        a server that makes us start over again and again makes none."""
        attempts, failed_attempts, most = 0, 0, received()
        hooks = {"request": [self._check]} if self._secure else {}
        with httpx.Client(
            verify=_tls(),
            follow_redirects=True,
            max_redirects=_MOST_REDIRECTS,
            timeout=_TIMEOUT,
            event_hooks=hooks,
            mounts=_without_proxy(self.url),
        ) as client:
            while True:
                attempts += 1
                try:
                    return attempt(client)
                except httpx.TooManyRedirects as error:
                    raise SourceUnavailable(self.name, f"{_host(self.url)} redirects again and again") from error
                except (httpx.TransportError, _AttemptFailed) as error:
                    here = received()
                    failed_attempts = 0 if here >= most + _PROGRESS else failed_attempts + 1
                    most = max(most, here)
                    if failed_attempts >= _MAX_FAILED_ATTEMPTS or attempts >= _MOST_ATTEMPTS:
                        # The library's texts may hold the address to which we were sent, with keys in its query.
                        own = isinstance(error, _AttemptFailed) or not self._secure
                        reason = (str(error) if own else "") or type(error).__name__
                        raise SourceUnavailable(self.name, f"{_host(self.url)} does not answer ({reason})") from error
                    self._sleep(0.5 * 2**failed_attempts)

    def _check(self, request: httpx.Request) -> None:
        if not is_allowed(str(request.url), self.url):
            raise SourceUnavailable(
                self.name, f"{_host(self.url)} redirects to an address that is not https, or of a private network"
            )


def _complete(attempts: _Attempts, part: Path, expected: ExpectedFile, progress: Progress | None) -> None:
    """Attempt until ``part`` has its full length, or the source has another file."""
    url = attempts.url
    if urlsplit(url).scheme == "file":
        _copy(url, part, expected, progress)
        return
    attempts.until(
        lambda client: _attempt(client, url, part, expected, progress),
        received=lambda: part.stat().st_size if part.exists() else 0,
    )


def _attempt(client: httpx.Client, url: str, part: Path, expected: ExpectedFile, progress: Progress | None) -> None:
    """Request the missing bytes once; returns when the source has sent all that it has."""
    size = part.stat().st_size if part.exists() else 0
    if size > expected.size:
        part.unlink()
        size = 0
    if size == expected.size:
        return
    # Identity: a range counts bytes of the encoded body, so a compressed answer could not be resumed.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={size}-"} if size else {})
    with client.stream("GET", url, headers=headers) as response:
        _check_status(response, url, expected.name)
        if response.status_code == 416:
            part.unlink(missing_ok=True)
            raise _AttemptFailed("the partial file does not fit the source")
        continued = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(
            f"bytes {size}-"
        )
        if not continued:
            size = 0  # the server sends the whole file: start over
        with part.open("ab" if continued else "wb") as handle:
            for chunk in _paced(response):  # as it arrives: buffered bytes would be lost with the connection
                handle.write(chunk)
                size += len(chunk)
                if progress is not None:
                    progress(min(size, expected.size), expected.size, expected.name)
                if size > expected.size:
                    break  # a wrong file; it must not fill the disk
    # If the answer states its length, httpx has raised unless it is complete: then the file of the source is short.
    has_length = "Content-Length" in response.headers or "Transfer-Encoding" in response.headers
    if size < expected.size and not has_length:
        raise _AttemptFailed("the connection closed early")


def _paced(response: httpx.Response) -> Iterator[bytes]:
    """The bytes of an answer as they arrive. Raises _AttemptFailed where they come too slowly."""
    start, count = _now(), 0
    for chunk in response.iter_raw():
        yield chunk
        count += len(chunk)
        if (elapsed := _now() - start) >= _WINDOW_S:
            if count < _LEAST_RATE * elapsed:
                raise _AttemptFailed(f"less than {_LEAST_RATE} bytes a second")
            start, count = _now(), 0


def _without_proxy(url: str) -> dict[str, httpx.BaseTransport | None]:
    """No proxy is asked for an address of this machine, which it could not reach."""
    host = urlsplit(url).hostname or ""
    if not is_loopback(host):
        return {}
    return {f"all://{f'[{host}]' if ':' in host else host}": None}


def _check_status(response: httpx.Response, url: str, name: str) -> None:
    status = response.status_code
    if status in _TRANSIENT_STATUS:
        raise _AttemptFailed(f"status {status}")
    if status in (401, 403, 407):
        raise SourceUnavailable(name, f"{_host(url)} refuses access (status {status})")
    if status in (404, 410):
        raise SourceNotFound(name, f"{_host(url)} does not have it (status {status})")
    if status not in (200, 206, 416):
        raise SourceUnavailable(name, f"{_host(url)} answered with status {status}")


def _copy(url: str, part: Path, expected: ExpectedFile, progress: Progress | None) -> None:
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
    """Certificates of ``SSL_CERT_FILE`` / ``SSL_CERT_DIR`` or of the system; certifi's if the system has none."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not paths.cafile and not paths.capath:
        import certifi

        context.load_verify_locations(certifi.where())
    return context
