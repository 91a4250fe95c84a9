"""Weights in a package of Debian are fetched by apt-get, under the settings of the machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo.errors import DigestMismatch, SourceNotFound, SourceUnavailable
from model_zoo.sources.source_table import source_for
from tests.support.model_zoo.packages import deb, debian_source, tar

CONTENT = bytes(range(256)) * 300
CONTROL = """Package: zoo-tiny
Version: 1:1.0-1
Architecture: all
Maintainer: Nobody <nobody@example.org>
Description: tiny
"""
ARTIFACT = deb(tar({"./usr/share/zoo/net.bin": CONTENT}), control=CONTROL)
SOURCE = debian_source(ARTIFACT, "usr/share/zoo/net.bin", CONTENT)
STAND_IN = """#!{python}
import pathlib, sys
if "--print-uris" in sys.argv:
    print("'http://index.example/x.deb' {name} {size} {digest}")
elif {fetches}:
    pathlib.Path("{name}").write_bytes(pathlib.Path("{file}").read_bytes())
sys.stderr.write({stderr!r})
sys.exit({code})
"""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the command apt-get, which a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def stand_in(folder: Path, artifact: bytes = ARTIFACT, **changes: object) -> None:
    (folder / "served").write_bytes(artifact)
    facts = {
        "name": SOURCE.artifact,
        "size": len(ARTIFACT),
        "digest": f"SHA256:{hashlib.sha256(ARTIFACT).hexdigest()}",
        "fetches": True,
        "stderr": "",
        "code": 0,
    }
    text = STAND_IN.format(python=sys.executable, file=folder / "served", **(facts | changes))
    (folder / "apt-get").write_text(text)
    (folder / "apt-get").chmod(0o755)


def test_file_of_a_package_is_fetched_and_removed(apt: Path, tmp_path: Path) -> None:
    stand_in(apt)
    found, seen = source_for(SOURCE), []
    artifact = found.fetch(tmp_path / "downloads", lambda done, total, what: seen.append((done, total)))
    assert found.read(artifact, SOURCE.files["weights"]) == CONTENT
    assert seen == [(0, len(ARTIFACT)), (len(ARTIFACT), len(ARTIFACT))]
    (apt / "apt-get").unlink()
    found.fetch(tmp_path / "downloads")
    found.discard(artifact)
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"stderr": "E: Unable to locate package zoo-tiny", "code": 100}, SourceNotFound, "does not have this version"),
        ({"stderr": "E: Failed to fetch http://ann:hunter2@x", "code": 100}, SourceUnavailable, "cannot fetch it"),
        ({"size": 10**12}, SourceUnavailable, "has a file of 1,000,000,000,000 bytes"),
        ({"digest": f"SHA256:{'0' * 64}"}, SourceUnavailable, "another sha256 than the card"),
        ({"fetches": False}, SourceUnavailable, "not fetch exactly one package"),
        ({"artifact": ARTIFACT[::-1], "digest": ""}, DigestMismatch, "has sha256"),
        ({"artifact": ARTIFACT[:-9], "digest": ""}, DigestMismatch, "has sha256"),
    ],
)
def test_package_that_cannot_be_fetched_is_told(
    changes: dict[str, object], error: type[Exception], words: str, apt: Path, tmp_path: Path
) -> None:
    stand_in(apt, **changes)  # type: ignore[arg-type]
    with pytest.raises(error, match=words) as raised:
        source_for(SOURCE).fetch(tmp_path / "downloads")
    assert "hunter2" not in str(raised.value)
    assert list((tmp_path / "downloads").iterdir()) == []


def test_machine_without_apt_is_told_how_to_go_on(apt: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"no apt-get.*apt-get download zoo-tiny=1:1\.0-1' elsewhere"):
        source_for(SOURCE).fetch(tmp_path / "downloads")


@pytest.mark.skipif(shutil.which("apt-get") is None, reason="this machine has no apt-get")
def test_apt_itself_fetches_from_an_index_of_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "index"
    index.mkdir()
    (index / "tiny.deb").write_bytes(ARTIFACT)
    digest = hashlib.sha256(ARTIFACT).hexdigest()
    (index / "Packages").write_text(
        f"{CONTROL}Filename: ./tiny.deb\nSize: {len(ARTIFACT)}\nSHA256: {digest}\n", encoding="ascii"
    )
    for name in ("state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/apt.conf.d", "etc/parts"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/sources.list").write_text(f"deb [trusted=yes] file:{index} ./\n")
    (tmp_path / "state/status").write_text("")
    (tmp_path / "apt.conf").write_text(
        f'Dir::State "{tmp_path}/state"; Dir::State::status "{tmp_path}/state/status"; Dir::Cache "{tmp_path}/cache";\n'
        f'Dir::Etc "{tmp_path}/etc"; Dir::Etc::SourceParts "{tmp_path}/etc/parts"; APT::Sandbox::User "";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    done = subprocess.run(["apt-get", "-q", "update"], env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = source_for(SOURCE)
    artifact = found.fetch(tmp_path / "downloads")
    assert found.read(artifact, SOURCE.files["weights"]) == CONTENT
