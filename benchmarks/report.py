"""`make bench-report`: the tables of docs/benchmarks.md, between their markers, and the plots, from the results of a run.

python -m benchmarks.report [--results FILE] [--docs FILE] [--no-plots] [--print]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from benchmarks.paths import DOCS, RESULTS
from benchmarks.reports.markdown import replace_generated
from benchmarks.reports.page import render
from benchmarks.reports.plots import draw


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes the tables and plots of a run.")
    parser.add_argument("--results", type=Path, default=RESULTS / "peers.json")
    parser.add_argument("--docs", type=Path, default=DOCS / "benchmarks.md")
    parser.add_argument("--images", type=Path, default=DOCS / "images")
    parser.add_argument("--print", action="store_true", help="only show the tables")
    parser.add_argument("--no-plots", action="store_true")
    arguments = parser.parse_args()
    report = json.loads(arguments.results.read_text())
    if arguments.print:
        print(render(report))
        return
    text = render(report)
    if not arguments.no_plots:
        text += "\n\n" + "\n\n".join(
            f"![{title}]({Path(os.path.relpath(path, arguments.docs.parent)).as_posix()})"
            for title, path in draw(report, arguments.images)
        )
    arguments.docs.write_text(replace_generated(arguments.docs.read_text(), text))
    print(f"written to {arguments.docs}")


if __name__ == "__main__":
    main()
