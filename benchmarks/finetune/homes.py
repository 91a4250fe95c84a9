"""A ZOO_HOME of a measurement's own that shares the zoo's weights, and what was compiled of them, with the tests'."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.processes import ROOT


def zoo_home() -> Path:
    """Where the weights are; `make` fetches them there."""
    return Path(os.environ.get("ZOO_TEST_HOME") or ROOT / ".cache" / "zoo-home")


def shared_home(folder: Path) -> Path:
    """`folder` made a home: weights and compiled networks linked, nothing else in it."""
    folder.mkdir(parents=True)
    for name in ("weights", "compiled"):
        source = zoo_home() / name
        if source.is_dir():
            (folder / name).symlink_to(source)
    return folder
