"""Fine-tuning beside plain scripts and scikit-learn; `make bench-finetune` writes docs/finetune-benchmarks.md.

    python -m benchmarks.finetune.run [--only head,topics,…] [--rounds N] [--out FILE]

Each scenario has a server and a ZOO_HOME of its own, so that caches of other scenarios do not help it. The networks run as
shipped, unless a scenario states otherwise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console

from benchmarks.finetune import serving, tuning
from benchmarks.finetune.common import Figures, Start
from benchmarks.finetune.homes import shared_home
from benchmarks.participants.zoo import Zoo
from benchmarks.paths import RESULTS

console = Console(highlight=False)
OUT = RESULTS / "finetune.json"
SCENARIOS: dict[str, Callable[[Start, int, float], Figures]] = {
    "head": tuning.head,
    "photos": tuning.photos,
    "topics": tuning.topics,
    "full": tuning.full,
    "heads": serving.heads,
    "separate": serving.separate,
    "beside": serving.beside,
    "live": serving.live,
}


@contextmanager
def server(
    models: list[str],
    settle: bool = True,
    prepare: Callable[[Path], None] = lambda home: None,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Zoo]:
    """A server with a home that holds only the weights of the zoo; `prepare` may add files before the start."""
    with tempfile.TemporaryDirectory(prefix="zoo-finetune-") as folder:
        home = shared_home(Path(folder) / "home")
        prepare(home)
        with Zoo("zoo-finetune", models, home, {"ZOO_LOG_LEVEL": "info", **settings}) as zoo:
            if settle:
                zoo.settle()
            yield zoo


def main() -> None:
    """The command line: run the scenarios and write their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement under load")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    figures: dict[str, Any] = json.loads(given.out.read_text()) if given.out.is_file() else {}
    for name in given.only.split(","):
        console.print(f"[bold]{name}[/bold]")
        began = time.perf_counter()
        figures[name] = SCENARIOS[name](server, given.rounds, given.seconds)
        console.print(f"  {json.dumps(figures[name]['summary'])}  ({time.perf_counter() - began:.0f} s)")
        given.out.parent.mkdir(parents=True, exist_ok=True)
        staged = given.out.with_suffix(".draft")
        staged.write_text(json.dumps(figures, indent=1))
        shutil.move(staged, given.out)


if __name__ == "__main__":
    main()
