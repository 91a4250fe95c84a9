"""A tiny model in a home of its own: one layer of BERT with random weights from a seed.

Its card is that of the catalog's sentence encoder, so it takes sentences; its golden values are what this network says.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from model_zoo.network import build_network, load_network
from model_zoo.sources.digest import sha256_of_file
from model_zoo.store import Store, recipe_key
from service.tasks.table import task_for

NAME = "tiny_encoder"
ONCE_COMPILED = "tiny-compiled"
"""Folder in pytest's base temporary folder: the first test that compiles the network in fp32 leaves the cache for others."""
WIDTH = 32
SENTENCE = "A man is playing a guitar."


def tiny_card(values: tuple[float, ...] = (0.0,)) -> Card:
    """The card; `values` are the first values of the expected embedding of SENTENCE."""
    document = Catalog.from_package().get("all_minilm_l6_v2").model_dump(mode="json")
    arguments = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    document["name"] = NAME
    document["architecture"]["arguments"] |= arguments
    document["signature"]["outputs"][0]["shape"] = [-1, WIDTH]
    document["batching"] |= {"max_batch_size": 8, "cpu_batch_size": 8}
    expect = {"values": values, "tolerance": 0.0001, "pairs": [{"text": "Stocks fell sharply today, said the bank."}]}
    document["golden"] = [{"input": {"text": SENTENCE}, "expect": expect}]
    return Card.model_validate(document)


def make_tiny(home: Path, real_home: Path) -> Card:
    """Put the model into the store of a home, with the tokenizer of the real one. Returns its card."""
    real = Store(real_home).find(Catalog.from_package().get("all_minilm_l6_v2"))
    assert real is not None
    card = tiny_card()
    staging = home / "weights" / "staging"
    staging.mkdir(parents=True)
    torch.manual_seed(11)
    weights = staging / "model.safetensors"
    save_file(build_network(card).backbone.state_dict(), weights)
    digest = sha256_of_file(weights)
    folder = staging.rename(staging.parent / digest)
    (folder / "tokenizer.json").write_bytes(real.files["tokenizer"].read_bytes())
    files = {}
    for role, name in (("weights", "model.safetensors"), ("tokenizer", "tokenizer.json")):
        path = folder / name
        files[role] = {"name": name, "bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
    (folder / "manifest.json").write_text(json.dumps({"converter": 1, "files": files}))
    pointer = home / "weights" / "by-card" / f"{NAME}-{recipe_key(card)}.json"
    pointer.parent.mkdir()
    pointer.write_text(json.dumps({"card": NAME, "digest": digest}))
    return tiny_card(_first_values(card, home))


def _first_values(card: Card, home: Path) -> tuple[float, ...]:
    found = Store(home).find(card)
    assert found is not None
    task = task_for(card, found)
    (item,) = task.preprocess([task.text_instance(SENTENCE)], ["t"])
    tensors = task.collate([item])[0]  # type: ignore[list-item]
    with torch.inference_mode():
        out = load_network(card, found)(**{name: torch.from_numpy(array) for name, array in tensors.items()})
    return tuple(round(float(value), 6) for value in out["embedding"][0, :4])
