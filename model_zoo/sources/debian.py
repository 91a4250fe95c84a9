"""Packages of Debian, by ``apt-get download`` under the client's own settings. Nothing is installed, and no script is run."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

from model_zoo.errors import SourceNotFound, SourceUnavailable
from model_zoo.sources.archives import deb_member
from model_zoo.sources.artifact_source import Progress
from model_zoo.sources.digest import check_file
from model_zoo.sources.package_files import Archive, PackageFiles

__all__ = ["DebianArchive", "debian_package"]

_TIMEOUT_S, _TIMEOUT_OF_LIST_S = 3600.0, 120.0
_LISTED = re.compile(r"^'[^']*' (?P<file>\S+) (?P<bytes>\d+) (?:SHA256:(?P<sha256>[0-9a-f]{64}))?", re.MULTILINE)
"""A line of ``apt-get --print-uris``."""
_ABSENT = ("Unable to locate package", "was not found", "has no installation candidate")


class DebianArchive(Archive, Protocol):
    """A package of Debian, pinned."""

    @property
    def package(self) -> str:
        """Its name."""
        ...

    @property
    def version(self) -> str:
        """As apt-get writes it."""
        ...


def debian_package(source: DebianArchive) -> PackageFiles:
    """The ``ArtifactSource`` of a card whose weights are in a package of Debian, and of packages with data."""

    def obtain(target: Path, progress: Progress | None) -> None:
        with tempfile.TemporaryDirectory(prefix=".deb-", dir=target.parent) as folder:
            _check_listed(source, Path(folder))
            if progress is not None:
                progress(0, source.artifact_bytes, source.artifact)
            _apt(source, Path(folder), [], _TIMEOUT_S)
            fetched = [path for path in Path(folder).iterdir() if path.suffix == ".deb" and path.is_file()]
            if len(fetched) != 1:
                raise SourceUnavailable(source.artifact, "apt-get does not fetch exactly one package")
            check_file(fetched[0], source.artifact_sha256, source.artifact)
            fetched[0].replace(target)
        if progress is not None:
            progress(source.artifact_bytes, source.artifact_bytes, source.artifact)

    return PackageFiles(source, obtain, deb_member)


def _check_listed(source: DebianArchive, folder: Path) -> None:
    """Compares the index with the card before anything is fetched. Raises SourceUnavailable."""
    listed = _LISTED.search(_apt(source, folder, ["--print-uris"], _TIMEOUT_OF_LIST_S))
    if listed is None:
        raise SourceUnavailable(source.artifact, "apt-get does not say what it would fetch")
    if int(listed["bytes"]) != source.artifact_bytes:
        figures = f"{int(listed['bytes']):,} bytes, and the card says {source.artifact_bytes:,}"
        raise SourceUnavailable(source.artifact, f"the package index has a file of {figures}")
    if listed["sha256"] not in (None, source.artifact_sha256):
        raise SourceUnavailable(source.artifact, "the package index has a file of another sha256 than the card")


def _apt(source: DebianArchive, folder: Path, options: list[str], timeout_s: float) -> str:
    """Output of ``apt-get download`` in a folder. Raises SourceUnavailable."""
    command = shutil.which("apt-get")
    if command is None:
        raise SourceUnavailable(source.artifact, f"this machine has no apt-get. {_by_hand(source)}")
    try:
        done = subprocess.run(  # noqa: S603 - with arguments from a validated card
            [command, "-q", *options, "download", f"{source.package}={source.version}"],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceUnavailable(source.artifact, "apt-get does not answer") from error
    if done.returncode == 0:
        return done.stdout
    if any(words in done.stderr for words in _ABSENT):
        reason = "the package index does not have this version; `apt-get update` renews the index"
        raise SourceNotFound(source.artifact, f"{reason}. {_by_hand(source)}")
    raise SourceUnavailable(source.artifact, f"apt-get cannot fetch it. {_by_hand(source)}")


def _by_hand(source: DebianArchive) -> str:
    fetch = f"run 'apt-get download {source.package}={source.version}' elsewhere"
    return f"On a machine without it: {fetch} and put the file into the folder 'downloads' of ZOO_HOME"
