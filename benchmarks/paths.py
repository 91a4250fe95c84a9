"""Folders of the repository that the benchmarks read and write."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["DOCS", "EXAMPLES", "LOGS", "RESULTS", "ROOT", "zoo_home"]

ROOT = Path(__file__).resolve().parent.parent
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
RESULTS = ROOT / "benchmarks" / "results"
LOGS = RESULTS / "logs"


def zoo_home() -> Path:
    """The home that holds the weights: ZOO_TEST_HOME, else ZOO_HOME, else `.cache/zoo-home` of the repository."""
    return Path(os.environ.get("ZOO_TEST_HOME") or os.environ.get("ZOO_HOME") or ROOT / ".cache" / "zoo-home").resolve()
