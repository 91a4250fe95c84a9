"""Writes the pages: see the package."""

from __future__ import annotations

import argparse
from pathlib import Path

from .cards import cards_page
from .tasks import tasks_page
from .zoo import zoo_page

FOLDER = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"zoo.md": zoo_page, "tasks.md": tasks_page, "cards.md": cards_page}


def main() -> None:
    """Writes all pages."""
    parser = argparse.ArgumentParser(description="Write the pages of the documentation that follow from the code.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where they go (default: docs)")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
