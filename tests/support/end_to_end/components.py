"""Programs and data that are not Python packages: found, or the test is skipped with the name of the package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def find_command(name: str, place: Path | None, comes_with: str) -> str:
    """The path of a command, at `place` or on the search path. Skips the test if it is missing, as `find_folder` does."""
    found = str(place) if place is not None and place.is_file() else shutil.which(name)
    if found is None:
        _missing(f"{name} is missing; {comes_with} brings it")
    return str(found)


def find_folder(folder: Path, package: str) -> Path:
    """A folder of an apt package. Skips the test if it is missing; fails it if ZOO_REQUIRE_COMPONENTS=1."""
    if not folder.is_dir():
        _missing(f"{folder} is missing; apt-get install --no-install-recommends {package} brings it")
    return folder


def _missing(reason: str) -> None:
    if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
