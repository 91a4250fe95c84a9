"""Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747; MIT), pictures of clothes, as Debian ships it."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model_zoo.cards.weight_source import SourceFile
from model_zoo.training_recipes.data.idx import read_idx
from model_zoo.training_recipes.recipe import DataPackage

__all__ = ["CLASSES", "FASHION_MNIST", "in_three_colours", "labels", "pictures"]

CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""In the order of the data set."""
MEAN, STD = 0.286, 0.353
"""Of the training pixels in 0..1, rounded; a card's recipe has them for each colour."""

_FILES = {
    "train_images": (
        "train-images-idx3-ubyte.gz",
        26_421_856,
        "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    ),
    "train_labels": (
        "train-labels-idx1-ubyte.gz",
        29_491,
        "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    ),
    "test_images": (
        "t10k-images-idx3-ubyte.gz",
        4_422_079,
        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    ),
    "test_labels": (
        "t10k-labels-idx1-ubyte.gz",
        5_125,
        "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    ),
}
FASHION_MNIST = DataPackage(
    package="dataset-fashion-mnist",
    version="0.0~git20200523.55506a9-1",
    artifact="dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
    artifact_sha256="39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    artifact_bytes=30_900_652,
    files={
        role: SourceFile(path=f"usr/share/datasets/fashion-mnist/{name}", sha256=sha256, bytes=size)
        for role, (name, size, sha256) in _FILES.items()
    },
)


def pictures(content: bytes) -> Tensor:
    """(N, 1, 28, 28) float32, standardised."""
    pixels = torch.from_numpy(read_idx(content).astype(np.float32) / 255)
    return ((pixels - MEAN) / STD)[:, None]


def labels(content: bytes) -> Tensor:
    """(N) int64."""
    return torch.from_numpy(read_idx(content).astype(np.int64))


def in_three_colours(state: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    """The state of a network for grey pictures → that of the same network for pictures of three colours.

    The convolution that reads the picture, named by `layer`, is copied for each colour and divided by three, which gives
    a picture with three equal colours the same answer.
    """
    wide = dict(state)
    wide[layer] = wide[layer].repeat(1, 3, 1, 1) / 3
    return wide
