"""Fields of derived cards for images."""

from typing import Any

__all__ = ["IMAGE_BATCHING", "image_signature"]

IMAGE_BATCHING = {"max_batch_size": 32}


def image_signature(size: tuple[int, int], outputs: int, classes: bool) -> dict[str, Any]:
    """Normalised pixels (3, height, width) → ``outputs`` logits, or as many values of an embedding."""
    output = "logits" if classes else "embedding"
    return {
        "inputs": [{"name": "pixel_values", "datatype": "FP32", "shape": (-1, 3, *size)}],
        "outputs": [{"name": output, "datatype": "FP32", "shape": (-1, outputs)}],
    }
