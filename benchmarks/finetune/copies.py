"""Copies of a version under other names, with slightly different weights, so that no two are equal."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from model_zoo.versions import Versions


def copy_version(version: Path, home: Path, name: str) -> None:
    """Publish a copy of `version` as version 1 of the model `name`."""
    staged = home / "drafts" / name
    shutil.copytree(version, staged)
    card = json.loads((staged / "card.json").read_text())
    weights = staged / "model.safetensors"
    state = load_file(weights)
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big"))
    # Far below the tolerance of the golden check, and not equal.
    state = {
        key: tensor + 1e-9 * torch.randn(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }
    save_file(state, weights, metadata={"format": "pt"})
    digest, size = hashlib.sha256(weights.read_bytes()).hexdigest(), weights.stat().st_size
    card["name"] = name
    card["source"]["files"]["weights"].update(sha256=digest, bytes=size)
    (staged / "card.json").write_text(json.dumps(card))
    manifest = json.loads((staged / "manifest.json").read_text())
    for role, entry in manifest["files"].items():
        path = staged / entry["name"]
        manifest["files"][role] = {
            **entry,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
    (staged / "manifest.json").write_text(json.dumps(manifest))
    Versions(home).publish(name, staged)
