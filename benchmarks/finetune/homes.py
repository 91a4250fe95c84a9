"""A ZOO_HOME of a measurement's own that shares the zoo's weights, and what was compiled of them, with the tests'."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.paths import zoo_home


def shared_home(folder: Path) -> Path:
    """`folder` made a home: weights linked, compiled networks copied (code behind a link is not trusted), nothing else in it."""
    folder.mkdir(parents=True, mode=0o700)
    (folder / "weights").symlink_to(zoo_home() / "weights")
    if (zoo_home() / "compiled").is_dir():
        shutil.copytree(zoo_home() / "compiled", folder / "compiled")
    return folder
