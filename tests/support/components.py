"""Components beside Python: found, or the test says which is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def component(name: str, place: Path | None, comes_with: str) -> str:
    """The path of a command, at `place` or on the search path. Skips, or fails where ZOO_REQUIRE_COMPONENTS=1."""
    found = str(place) if place is not None and place.is_file() else shutil.which(name)
    if found is None:
        _missing(f"{name} is missing; {comes_with} brings it")
    return str(found)


def component_folder(folder: Path, package: str) -> Path:
    """A folder that an apt package brings. Skips, or fails where ZOO_REQUIRE_COMPONENTS=1."""
    if not folder.is_dir():
        _missing(f"{folder} is missing; apt-get install --no-install-recommends {package} brings it")
    return folder


def _missing(reason: str) -> None:
    if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
