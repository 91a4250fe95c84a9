"""Folders of the repository that tests read from."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
DATASET_FILES = REPOSITORY / "tests" / "datasets" / "data"
"""Tables and recordings as other programs wrote them."""
