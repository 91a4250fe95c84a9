"""Runs of a training method in this process, and the versions that they give."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_zoo.cards.weight_source import TunedSource
from model_zoo.catalog import Catalog
from model_zoo.golden.golden_items import read_golden_items
from model_zoo.network import load_network
from model_zoo.store import Store
from model_zoo.version_folder import Version
from model_zoo.versions import Versions
from service.training.data.seeds import seed_all
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.protocol import CheckpointWritten, WorkerMessage
from service.training.stop_signal import StopSignal

Train = Callable[[WorkOrder, Path, Callable[[WorkerMessage], None], StopSignal], None]


def method_order(
    home: Path, base: str, dataset: str, task: str, method: Method, incumbent: Path | None = None, **hparams: Any
) -> WorkOrder:
    spec = JobSpec(
        base=base, dataset_id=dataset, model="mine", task=task, method=method, seed=4, hyperparameters=hparams
    )
    return WorkOrder(job_id="j1", spec=spec, home=home, rival=incumbent)


def run_method(
    train: Train, given: WorkOrder, folder: Path, stop: StopSignal | None = None, pause_at: int = -1
) -> list[WorkerMessage]:
    """Runs a method in this process and returns its messages. Pauses the job after `pause_at` checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    seed_all(given.spec.seed)
    stop, messages = stop or StopSignal(), []

    def send(message: WorkerMessage) -> None:
        messages.append(message)
        if sum(isinstance(m, CheckpointWritten) for m in messages) == pause_at:
            stop.pause.set()

    train(given, folder, send, stop)
    return messages


def report(folder: Path) -> Any:
    return json.loads((folder / "result" / "report.json").read_text())


def publish(home: Path, folder: Path, name: str = "mine") -> Version:
    """Publishes a copy of a job's result as the next version. The version must load and answer as it was measured."""
    copy = folder / f"published-{time.time_ns()}"
    shutil.copytree(folder / "result", copy)
    version = Versions(home).open(name, Versions(home).publish(name, copy))
    card = version.card
    assert isinstance(card.source, TunedSource)
    base = None
    if card.source.method != "full":
        base = Store(home).find(Catalog.of_home(home).get(card.source.base))
    network = load_network(card, version.files, base)
    output = card.signature.outputs[0].name
    items = read_golden_items(name, version.golden)
    assert items
    for item in items:
        with torch.inference_mode():
            got = network(**{n: torch.from_numpy(array)[None] for n, array in item.inputs.items()})[output][0].numpy()
        assert np.abs(got - item.outputs[output]).max() <= card.tolerance.max_abs_error
    return version
