"""Tuned cards on real bases, as a job with method `head` writes them, with heads fitted by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.cards.signature import Signature, TensorSpec
from model_zoo.cards.tuned_parts import HeadSpec, TargetScale
from model_zoo.cards.weight_source import TunedSource
from model_zoo.materialised import Materialised
from model_zoo.store import Store
from service.runtime.network import NetworkRuntime
from service.tasks.base import Task
from service.tasks.table import task_for
from service.types import Answer, Instance, Item, Options


def tuned(base: Card, task: str, outputs: int, width: int, target: TargetScale | None = None) -> Card:
    """A card of `outputs` classes, or of a number."""
    regression = task == "regression"
    name = "value" if regression else "logits"
    signature = Signature(
        inputs=base.signature.inputs, outputs=(TensorSpec(name=name, datatype="FP32", shape=(-1, outputs)),)
    )
    source = TunedSource(kind="tuned", base=base.name, base_digest="0" * 64, method="head", files={})
    return base.model_copy(
        update={
            "name": "mine",
            "task": task,
            "labels": None if regression else "labels.txt",
            "signature": signature,
            "head": HeadSpec(kind="linear", inputs=width, outputs=outputs, output=name),
            "target": target,
            "source": source,
            "golden": (),
        }
    )


class Tuned:
    """A tuned network on its runtime."""

    def __init__(self, real: Any, card: Card, labels: tuple[str, ...], home: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        found = Store(home).find(real.card)
        assert found is not None
        self.task: Task = task_for(card, Materialised(folder, found.weights, found.files, "0" * 64))
        self.base: Network = real.network
        assert card.head is not None
        self.head = Head(card.head).eval().requires_grad_(False)
        self.runtime = NetworkRuntime(_OnBase(self.base, self.head), "cpu")

    def features(self, instances: list[Instance]) -> np.ndarray[Any, np.dtype[np.float32]]:
        items = self.items(instances)
        with torch.inference_mode():
            batch = {name: torch.from_numpy(array) for name, array in self.task.collate(items)[0].items()}
            return self.base.features(**batch).numpy()

    def items(self, instances: list[Instance]) -> list[Item]:
        items = self.task.preprocess(instances, [f"instances[{i}]" for i in range(len(instances))])
        assert all(isinstance(item, Item) for item in items), items
        return [item for item in items if isinstance(item, Item)]

    def learn(self, features: Any, targets: Any) -> None:
        """Ridge regression on one column for each output."""
        x = np.asarray(features, np.float64)
        mean, scale = x.mean(0), x.std(0) + 1e-3
        z = (x - mean) / scale
        y = np.asarray(targets, np.float64)
        weights = z.T @ np.linalg.solve(z @ z.T + 10.0 * np.eye(len(z)), y - y.mean(0))
        state = {"mean": mean, "scale": scale, "out.weight": weights.T, "out.bias": y.mean(0)}
        self.head.load_state_dict({name: torch.from_numpy(np.array(v, np.float32)) for name, v in state.items()})

    def ask(self, *instances: Instance, **options: Any) -> list[Answer]:
        items = self.items(list(instances))
        rows = self.task.split(self.runtime.run(self.task.collate(items)[0]), items)
        return [self.task.postprocess(row, item, Options(**options)) for row, item in zip(rows, items, strict=True)]


class _OnBase(TunedNetwork):
    """Like TunedNetwork, without taking the base's own head from other users."""

    def __init__(self, base: Network, head: Head) -> None:
        torch.nn.Module.__init__(self)
        self.base, self.head = base, head
