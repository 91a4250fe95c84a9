"""Fine-tuned versions as a job would publish them, on the fakes' base: x → y = 2 x + 1, of which a head makes a · y + b."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors.numpy import save_file

from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import read_golden_items, write_golden_items
from model_zoo.golden.held_out import HELD_OUT, HeldOut, write_held_out
from model_zoo.sources.digest import sha256_of_file
from model_zoo.version_folder import GOLDEN
from model_zoo.versions import Versions
from service.errors import NotReady
from service.registry.loading.loaded import Loaded, LoadedHead
from service.runtime.heads import HeadPool, PooledHead
from service.types import Answer, Embedding, Item, Options, Tensors
from tests.support.registry.fakes import (
    FakeLoader,
    FakeRuntime,
    FakeTask,
    World,
)
from tests.support.registry.fakes import card as base_card

BASE_DIGEST = "b" * 64


def report(value: float = 0.9, baseline: float = 0.5, rival: tuple[int, float] | None = None) -> dict[str, Any]:
    """report.json as far as the gate reads it."""
    return {
        "task": "text-classification",
        "primary": "accuracy",
        "higher_is_better": True,
        "metrics": {"accuracy": {"value": value, "low": value - 0.02, "high": value + 0.02}},
        "baseline": {"accuracy": baseline, "kind": "always the commonest class"},
        "rival": None if rival is None else {"version": rival[0], "metrics": {"accuracy": rival[1]}},
    }


def result_folder(
    home: Path,
    model: str,
    slope: float = 1.0,
    *,
    offset: float = 0.0,
    method: str = "head",
    base: str = "adder",
    said: dict[str, Any] | None = None,
    golden: Sequence[tuple[float, float]] | None = None,
    columns: int = 0,
    job_id: str = "job",
    held_out: tuple[str, Sequence[float]] | None = None,
) -> Path:
    """A complete version folder without a number. The head gives slope · y + offset (and adds the columns' sum).

    `held_out`: a data set and its texts, numbers. The head is a classifier of two classes then, the first where
    slope · y + offset is above 0, and is right about all of them.
    """
    folder = home / "jobs" / uuid.uuid4().hex / "result"
    folder.mkdir(parents=True)
    inputs = 1 + columns
    weight = np.array([[slope, *[1.0] * columns]], np.float32)
    bias = np.array([offset], np.float32)
    if held_out is not None:
        weight, bias = np.array([[slope], [0.0]], np.float32), np.array([offset, 0.0], np.float32)
    tensors = {
        "head.mean": np.zeros(inputs, np.float32),
        "head.scale": np.ones(inputs, np.float32),
        "head.out.weight": weight,
        "head.out.bias": bias,
    }
    save_file(tensors, folder / "model.safetensors")
    digest = sha256_of_file(folder / "model.safetensors")
    shown = base_card(base)
    tensor = {"datatype": "FP32", "shape": [-1, 1]}
    logits = tensor | {"shape": [-1, len(bias)]}
    source = {
        "kind": "tuned",
        "base": base,
        "base_digest": BASE_DIGEST,
        "method": method,
        "files": {"weights": {"path": "model.safetensors", "sha256": digest, "bytes": 1}},
    }
    document = shown.model_dump(mode="json") | {
        "name": model,
        "task": "text-classification",
        "source": source,
        "golden": [],
        "signature": {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "logits", **logits}]},
        "head": {"kind": "linear", "inputs": inputs, "outputs": len(bias), "columns": columns}
        if method == "head"
        else None,
        "tolerance": {"max_abs_error": 0.001},
    }
    (folder / "card.json").write_text(Card.model_validate(document).model_dump_json())
    pairs = [(3.0, slope * 7.0 + offset)] if golden is None else golden
    rest = [] if held_out is None else [0.0]
    rows = [({"x": np.array([x], np.float32)}, {"logits": np.array([y, *rest], np.float32)}) for x, y in pairs]
    if held_out is not None:
        dataset, numbers = held_out
        first = np.array([[slope * (2.0 * x + 1.0) + offset, 0.0] for x in numbers], np.float32)
        targets = first.argmax(1).astype(np.float64)
        write_held_out(folder / HELD_OUT, HeldOut(dataset, np.arange(len(numbers)), targets, first))
    write_golden_items(folder / GOLDEN, rows if not columns else [])
    lineage = {"base": base, "method": method, "job_id": job_id, "created": 1.7e9}
    (folder / "lineage.json").write_text(json.dumps(lineage))
    (folder / "report.json").write_text(json.dumps(said or report()))
    (folder / "report.html").write_text("<p>ü</p>")
    write_manifest(folder)
    return folder


def write_manifest(folder: Path) -> None:
    """manifest.json over what lies in a folder."""
    roles = {"weights": "model.safetensors"} | {
        path.name: path.name for path in folder.iterdir() if path.name not in ("model.safetensors", "manifest.json")
    }
    files = {
        role: {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of_file(folder / name)}
        for role, name in roles.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def publish(home: Path, model: str, slope: float = 1.0, **changes: Any) -> int:
    """Publishes a version and gives its number."""
    return Versions(home).publish(model, result_folder(home, model, slope, **changes))


def as_of_newer_release(home: Path, model: str, number: int) -> None:
    """Makes a published version one of a newer release, whose card this one cannot read."""
    folder = home / "versions" / model / str(number)
    for name, more in (("card.json", {"hologram": True}), ("lineage.json", {"zoo_version": "99.1.0"})):
        (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | more))
    write_manifest(folder)


class TunedTask(FakeTask):
    """A head's or a tuned network's answer as a vector."""

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        return Embedding(np.asarray(row.get("logits", row.get("y")), np.float32))


class TunedLoader(FakeLoader):
    """Loads heads from real files; a version tuned by `full` is a FakeRuntime of its own."""

    def __init__(self, home: Path, heads_bytes: int = 1 << 20) -> None:
        super().__init__()
        self.versions = Versions(home)
        self.pool = HeadPool(heads_bytes)

    def load_head(self, card: Card) -> LoadedHead:
        self.loads[card.name] += 1
        files = self.versions.find(card)
        if files is None:
            raise NotReady("its files are gone or damaged")
        assert card.head is not None
        head = PooledHead(card.name, card.head, files.weights, self.pool)
        return LoadedHead(TunedTask(card), head, read_golden_items(card.name, files.folder / GOLDEN))

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        made = super().load(card, precision)
        if card.source.kind == "tuned":
            made = Loaded(TunedTask(card), cast(Any, FakeRuntime()), 0.1)
            self.loaded[f"{card.name}:{self.loads[card.name]}"] = made
        return made


def with_tuned(w: World, home: Path) -> TunedLoader:
    """Puts a loader of tuned versions into a world, beside what was loaded before."""
    loader = TunedLoader(home)
    loader.loaded, loader.loads, loader.gate = w.loader.loaded, w.loader.loads, w.loader.gate
    loader.held_bytes, loader.failures = w.loader.held_bytes, w.loader.failures
    w.loader = loader
    return loader
