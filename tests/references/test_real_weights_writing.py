"""A network with real weights is written as a folder, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from scripts.real_weights import networks
from scripts.real_weights.package import OpenedPackage, Package


class Shelf:
    def opened(self, downloads: Path) -> OpenedPackage:
        return cast(OpenedPackage, downloads)


def hold(monkeypatch: pytest.MonkeyPatch, convert: Any) -> None:
    network = networks.Network(cast(Package, Shelf()), convert)
    monkeypatch.setattr(networks, "NETWORKS", {"tiny": network})


def test_folder_is_written_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hold(monkeypatch, lambda package, folder: (folder / "config.json").write_text("{}"))
    assert networks.write("tiny", tmp_path / "a/tiny", tmp_path) == tmp_path / "a/tiny"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["tiny"]
    assert (tmp_path / "a/tiny/config.json").read_text() == "{}"
    with pytest.raises(FileExistsError):
        networks.write("tiny", tmp_path / "a/tiny", tmp_path)


def test_failed_conversion_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(package: OpenedPackage, folder: Path) -> None:
        (folder / "config.json").write_text("{}")
        raise ValueError("damaged")

    hold(monkeypatch, fail)
    with pytest.raises(ValueError, match="damaged"):
        networks.write("tiny", tmp_path / "a/tiny", tmp_path)
    assert list((tmp_path / "a").iterdir()) == []
