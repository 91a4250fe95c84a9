"""Parts of all fine-tuning scenarios: the user's command, the plain script, and the summary of rounds."""

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
    """The safetensors of a base."""
    found = Store(zoo_home()).find(Catalog.from_package().get(name))
    if found is None:
        raise SystemExit(f"the weights of {name} are missing; run `zoo pull {name}`")
    return found.weights


def timed(*command: str | Path) -> tuple[dict[str, Any], float]:
    """Run a command; returns the last JSON line of its output and its seconds."""
    began = time.perf_counter()
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-500:]}{done.stderr[-1500:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]), seconds


def finetune(zoo: Zoo, base: str, data: Path, name: str, *arguments: str) -> tuple[dict[str, Any], float]:
    """Run `zoo finetune` as a user does; returns the finished job and the seconds of the command."""
    command = Path(sys.executable).with_name("zoo")
    options = ["--name", name, "--server", zoo.target, "--json", *arguments]
    return timed(command, "finetune", base, data, *options)


def plain(data: Path, epochs: int, *arguments: str) -> tuple[dict[str, Any], float]:
    """Run the plain script on the same data."""
    options: list[str | Path] = ["--weights", weights_of(CNN), "--data", data, "--epochs", str(epochs), *arguments]
    return timed(sys.executable, "-m", "benchmarks.finetune.plain", *options)


def accuracy(zoo: Zoo, name: str) -> float:
    """Accuracy of version 1 on the held-out data, from its lineage."""
    with Client(zoo.target) as client:
        return float(client.versions(name).versions[0].lineage.metrics["accuracy"])  # type: ignore[union-attr]


def summary(
    rounds: Sequence[Figures],
    medians: Mapping[str, Sequence[float]],
    means: Mapping[str, Sequence[float]] = MappingProxyType({}),
    **also: Any,
) -> Figures:
    """The summary of rounds by row of the table: medians of ratios and seconds, means of accuracies, and their ranges."""
    return {
        "rounds": list(rounds),
        "summary": {row: statistics.median(found) for row, found in medians.items()}
        | {row: statistics.mean(found) for row, found in means.items()},
        "ranges": {row: [min(found), max(found)] for row, found in {**medians, **means}.items()},
        **also,
    }
