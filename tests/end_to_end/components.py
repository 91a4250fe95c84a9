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
        reason = f"{name} is missing; {comes_with} brings it"
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found
