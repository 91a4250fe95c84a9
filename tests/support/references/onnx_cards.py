"""Cards of models of tensors only."""

from __future__ import annotations

from collections.abc import Sequence

from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TensorsRecipe


def tensors_card(
    inputs: Sequence[tuple[str, str, tuple[int, ...]]], recipe: TensorsRecipe, max_batch_size: int = 1
) -> Card:
    """A card with these inputs and one output, `y` `[rows, 2]`."""
    return Card.model_validate(
        {
            "name": "tiny",
            "family": "mlp",
            "task": "other",
            "summary": "A network of a test.",
            "default": False,
            "licence": {"package": "MIT", "weights": "MIT"},
            "provenance": "made here",
            "paper": "none",
            "parameters": 1,
            "source": {
                "kind": "local",
                "folder": "files",
                "files": {"weights": {"path": "tiny.onnx", "sha256": "0" * 64, "bytes": 1}},
            },
            "weights": {"format": "onnx", "mapping": "unchanged"},
            "architecture": {"builder": "onnx"},
            "raw_input": "",
            "canonical": "tensors",
            "signature": {
                "inputs": [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in inputs],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": (-1, 2)}],
            },
            "recipe": recipe.model_dump(),
            "batching": {
                "max_batch_size": max_batch_size,
                "length_of": recipe.mask or None,
                "max_length": recipe.max_length if recipe.mask else None,
            },
            "tolerance": {"max_abs_error": 0.001},
        }
    )
