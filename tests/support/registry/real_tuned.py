"""Fine-tuned versions on real bases, with random heads and adapters from a seed: their answers are known, not useful."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from model_zoo.architectures.tuned import Head, TunedNetwork
from model_zoo.architectures.wrappers import Network
from model_zoo.cards.card import Card
from model_zoo.golden.golden_items import write_golden_items
from model_zoo.materialised import Materialised
from model_zoo.network import add_adapter, load_network
from model_zoo.sources.digest import sha256_of_file
from model_zoo.version_folder import GOLDEN
from model_zoo.versions import Versions
from service.types import Item

_backbones: dict[tuple[str, Path], Network] = {}


def _bare(base: str, home: Path) -> Network | None:
    """A base's backbone, which all heads of a test share: building it takes a second."""
    return _backbones.get((base, home))


TASKS = {"image-classification": "image-classification", "feature-extraction": "text-classification"}


def publish_real(
    home: Path,
    model: str,
    base: Card,
    files: Materialised,
    item: Item,
    *,
    method: str = "head",
    width: int,
    classes: int = 4,
    kind: str = "linear",
    seed: int = 0,
    golden: bool = True,
) -> tuple[int, TunedNetwork]:
    """Publishes a version of a real base and gives its number and its network in torch. `item` becomes its golden item
    if `golden`."""
    folder = home / "jobs" / uuid.uuid4().hex / "result"
    folder.mkdir(parents=True)
    source: dict[str, Any] = {"kind": "tuned", "base": base.name, "base_digest": files.digest, "method": method}
    document = base.model_dump(mode="json") | {
        "name": model,
        "task": TASKS[base.task],
        "source": source | {"files": {"weights": {"path": "w", "sha256": "0" * 64, "bytes": 1}}},
        "golden": [],
        "labels": "labels.txt",
        "head": {
            "kind": kind,
            "inputs": width,
            "outputs": classes,
            "hidden": 8 if kind == "mlp" else None,
        },
        "adapter": {"rank": 2, "alpha": 4, "targets": ["query", "value"]} if method == "lora" else None,
    }
    document["signature"]["outputs"] = [{"name": "logits", "datatype": "FP32", "shape": [-1, classes]}]
    card = Card.model_validate(document)
    assert card.head is not None
    torch.manual_seed(seed)
    bare = _bare(base.name, home) if method == "head" else None
    if bare is None:
        bare = load_network(base, files)
        bare.drop_own_head()
        if method == "head":
            _backbones[base.name, home] = bare
    network = TunedNetwork(bare, Head(card.head))
    if card.adapter is not None:
        add_adapter(network.base.backbone, card.adapter)
        for name, parameter in network.named_parameters():
            if ".lora_" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    network.head.scale.fill_(0.5)
    network.eval().requires_grad_(False)
    kept = {
        "head": lambda name: name.startswith("head."),
        "lora": lambda name: name.startswith("head.") or ".lora_" in name,
        "full": lambda name: True,
    }[method]
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items() if kept(name)}
    save_file(state, folder / "model.safetensors")
    (folder / "labels.txt").write_text("".join(f"class {i}\n" for i in range(classes)))
    write_golden_items(folder / GOLDEN, [(item.tensors, {"logits": torch_answer(network, item)})] if golden else [])
    roles = {"weights": "model.safetensors", "labels": "labels.txt", "golden": GOLDEN}
    if method == "full":
        for role, path in files.files.items():
            if role != "labels":
                (folder / path.name).write_bytes(path.read_bytes())
                roles[role] = path.name
    digest = sha256_of_file(folder / "model.safetensors")
    document["source"]["files"]["weights"] |= {"sha256": digest, "bytes": (folder / "model.safetensors").stat().st_size}
    (folder / "card.json").write_text(Card.model_validate(document).model_dump_json())
    (folder / "lineage.json").write_text(json.dumps({"method": method}))
    report = {"primary": "accuracy", "metrics": {"accuracy": 0.9}, "baseline": {"accuracy": 0.5}}
    (folder / "report.json").write_text(json.dumps(report))
    roles |= {"card": "card.json", "lineage": "lineage.json", "report": "report.json"}
    entries = {
        role: {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of_file(folder / name)}
        for role, name in roles.items()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": entries}))
    return Versions(home).publish(model, folder), network


def torch_answer(network: torch.nn.Module, item: Item) -> np.ndarray[Any, Any]:
    """The logits of one item, in eager torch, alone."""
    with torch.inference_mode():
        given = {name: torch.from_numpy(np.array(array[None])) for name, array in item.tensors.items()}
        return np.asarray(network(**given)["logits"][0].numpy())


def torch_features(network: TunedNetwork, item: Item) -> torch.Tensor:
    """The backbone's features of one item, (1, D)."""
    with torch.inference_mode():
        given = {name: torch.from_numpy(np.array(array[None])) for name, array in item.tensors.items()}
        return network.features(**given)
