"""What the scenarios of fine-tuning share: the command as users run it, the plain script, and how rounds become figures."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from benchmarks.participants.zoo import Zoo
from benchmarks.paths import ROOT, zoo_home
from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.client import Client

CNN, TRANSFORMER = "efficientnet_lite0", "all_minilm_l6_v2"
FOLDS = ROOT / ".cache" / "folds"
HEADS = 100
EPOCHS = 10
FULL_EPOCHS = 3
CALLERS = 32

Figures = dict[str, Any]
Start = Callable[..., AbstractContextManager[Zoo]]


def weights_of(name: str) -> Path:
    """A base's safetensors."""
    found = Store(zoo_home()).find(Catalog.from_package().get(name))
    if found is None:
        raise SystemExit(f"the weights of {name} are not here; run `zoo pull {name}`")
    return found.weights


def timed(*command: str | Path) -> tuple[dict[str, Any], float]:
    """The last JSON line that a command prints, and the seconds from its start to its end."""
    began = time.perf_counter()
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]), seconds


def finetune(zoo: Zoo, base: str, data: Path, name: str, *arguments: str) -> tuple[dict[str, Any], float]:
    """`zoo finetune` as a user runs it: the job at its end, and the seconds of the whole command."""
    command = Path(sys.executable).with_name("zoo")
    options = ["--name", name, "--server", zoo.target, "--json", *arguments]
    return timed(command, "finetune", base, data, *options)


def plain(data: Path, epochs: int, *arguments: str) -> tuple[dict[str, Any], float]:
    """The plain script on the same data."""
    options: list[str | Path] = ["--weights", weights_of(CNN), "--data", data, "--epochs", str(epochs), *arguments]
    return timed(sys.executable, "-m", "benchmarks.finetune.plain", *options)


def accuracy(zoo: Zoo, name: str) -> float:
    """On the held-out data, as the version's report has it."""
    with Client(zoo.target) as client:
        return float(client.versions(name).versions[0].lineage.metrics["accuracy"])  # type: ignore[union-attr]


def summary(
    rounds: Sequence[Figures],
    medians: Mapping[str, Sequence[float]],
    means: Mapping[str, Sequence[float]] = MappingProxyType({}),
    **also: Any,
) -> Figures:
    """What rounds gave, by the words of the table: of ratios and seconds the median, of accuracies the mean; and their ranges."""
    return {
        "rounds": list(rounds),
        "summary": {words: statistics.median(found) for words, found in medians.items()}
        | {words: statistics.mean(found) for words, found in means.items()},
        "ranges": {words: [min(found), max(found)] for words, found in {**medians, **means}.items()},
        **also,
    }
