"""A ZOO_HOME for one measurement, with the weights and the compiled networks of the test home."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.paths import zoo_home


def shared_home(folder: Path) -> Path:
    """Make `folder` a home: weights linked, compiled networks copied (code behind a link is not trusted), nothing else."""
    folder.mkdir(parents=True, mode=0o700)
    (folder / "weights").symlink_to(zoo_home() / "weights")
    if (zoo_home() / "compiled").is_dir():
        shutil.copytree(zoo_home() / "compiled", folder / "compiled")
    return folder
