"""The command: see the package."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from .device import device
from .jobs import jobs
from .model import model
from .overview import overview

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"


def main() -> None:
    """Writes the dashboards."""
    parser = argparse.ArgumentParser(description="Write the dashboards of Grafana as JSON.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where they go (default: deploy/grafana/dashboards)")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for make in (overview, model, device, jobs):
        built = make().build()
        for number, panel in enumerate(built.panels or (), 1):
            panel.id_val = number
        text = json.dumps(built, cls=JSONEncoder, sort_keys=True, indent=2, allow_nan=False)
        (folder / f"{make.__name__}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
