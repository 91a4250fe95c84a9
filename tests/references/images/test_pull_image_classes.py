"""Classifiers of images whose automatic class stands for several classes: the one that the repository names is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from model_zoo.network import load_network
from tests.references.conftest import Puller
from tests.support.references.tiny_repositories import write_page

NAMES = {0: "cat", 1: "cup", 2: "rocket"}
COMMON: dict[str, Any] = {"id2label": NAMES, "label2id": {name: number for number, name in NAMES.items()}}


def deit(folder: Path, kind: str) -> Path:
    torch.manual_seed(21)
    config = transformers.DeiTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=37,
        image_size=32,
        patch_size=8,
        initializer_range=0.3,
        **COMMON,
    )
    processor = transformers.DeiTImageProcessor(size={"height": 36, "width": 36}, crop_size={"height": 32, "width": 32})
    return written(folder, getattr(transformers, kind)(config), processor)


def levit(folder: Path, kind: str) -> Path:
    torch.manual_seed(22)
    config = transformers.LevitConfig(
        image_size=64,
        hidden_sizes=[16, 24, 32],
        num_attention_heads=[2, 2, 2],
        depths=[1, 1, 1],
        key_dim=[8, 8, 8],
        initializer_range=0.19,  # logits of about one
        **COMMON,
    )
    processor = transformers.LevitImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64})
    return written(folder, getattr(transformers, kind)(config), processor)


def written(folder: Path, network: Any, processor: Any) -> Path:
    network.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    write_page(folder, "image-classification")
    return folder


@pytest.mark.parametrize(
    "kind",
    [
        "DeiTForImageClassification",
        "DeiTForImageClassificationWithTeacher",
        "LevitForImageClassification",
        "LevitForImageClassificationWithTeacher",
    ],
)
def test_classifier_of_the_named_class_is_pulled(kind: str, pull_tiny: Puller) -> None:
    make = deit if kind.startswith("DeiT") else levit
    pulled = pull_tiny(lambda folder: make(folder, kind))
    assert pulled.card.verification is not None
    assert pulled.card.architecture.arguments["config"]["architectures"] == [kind]
    assert kind in {type(module).__name__ for module in load_network(pulled.card, pulled.files).modules()}
