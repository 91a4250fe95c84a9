"""The header of an adapter's file is read as what it is: bytes of a stranger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_zoo.references.adapter import AdaptedRepository
from model_zoo.references.local import LocalRepository


def configured(folder: Path, shape: Any) -> dict[str, Any]:
    """The configuration of a network under an adapter whose head has this shape."""
    for name in ("base", "adapter"):
        (folder / name).mkdir()
    (folder / "base/config.json").write_text(json.dumps({"model_type": "bert"}))
    settings = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "org/base"}
    (folder / "adapter/adapter_config.json").write_text(json.dumps(settings))
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4]}
    header = json.dumps({"base_model.model.classifier.weight": entry}).encode()
    (folder / "adapter/adapter_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    adapted = AdaptedRepository(LocalRepository(folder / "adapter"), LocalRepository(folder / "base"))
    found: dict[str, Any] = json.loads(adapted.read("config.json"))
    return found


def test_head_says_how_many_classes_there_are(tmp_path: Path) -> None:
    assert configured(tmp_path, [3, 8])["num_labels"] == 3


@pytest.mark.parametrize(
    "shape", [[[1], 2], [{}, 2], ["3", 2], [True, 2], [-3, 2], [0, 2], [3.5, 2], [], None, 7, "ab"]
)
def test_shape_that_is_none_says_nothing(shape: Any, tmp_path: Path) -> None:
    assert "num_labels" not in configured(tmp_path, shape)
