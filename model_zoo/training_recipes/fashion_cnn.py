"""Clothes of ten kinds on pictures of 28 × 28 grey pixels: a small convolutional network, beside a linear model of the
pixels.

The data are Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747). The last 5,000 of the 60,000 training pictures
choose the epoch; the 10,000 test pictures are measured once. The network learns with one colour, for speed. Served
pictures have three: the first convolution is copied for each of them and divided by three, which gives a grey picture
the same answer.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.small_cnn import SmallCnn
from model_zoo.cards.card import Figure
from model_zoo.cards.weight_source import SourceFile
from model_zoo.training_recipes.data.idx import read_idx
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.recipe import DataPackage, Recipe, Report, Trained

__all__ = ["CLASSES", "RECIPES", "train"]

CLASSES = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""In the order of the data set."""
MEAN, STD = 0.286, 0.353
"""Of the training pixels in 0..1, rounded; the card's recipe has them for each colour."""
HELD_BACK = 5_000
PLAN = Plan(epochs=4, batch=128, rate=0.004, weight_decay=0.01)
LINEAR_PLAN = Plan(epochs=4, batch=128, rate=0.002)
_ROWS = 1_000

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
DATA = DataPackage(
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


def train(files: Mapping[str, bytes], report: Report, plan: Plan = PLAN, linear_plan: Plan = LINEAR_PLAN) -> Trained:
    """See the module. Files by role: ``train_images``, ``train_labels``, ``test_images``, ``test_labels``."""
    x, y = pictures(files["train_images"]), labels(files["train_labels"])
    held_back = min(HELD_BACK, len(y) // 5)
    known, unseen = (x[:-held_back], y[:-held_back]), (x[-held_back:], y[-held_back:])
    tested = pictures(files["test_images"]), labels(files["test_labels"])
    torch.manual_seed(0)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), len(CLASSES)))
    torch.manual_seed(0)
    network = SmallCnn(len(CLASSES), colours=1)
    for name, module, some in (("linear model", linear, linear_plan), ("CNN", network, plan)):
        report(f"{name}:")
        fit(
            module,
            {"input" if module is linear else "pixels": known[0]},
            known[1],
            functional.cross_entropy,
            some,
            lambda module=module: 1.0 - accuracy(module, *unseen),  # type: ignore[misc]
            report,
        )
    figure = Figure(
        name=f"accuracy on {len(tested[1]):,} pictures",
        value=round(accuracy(network, *tested), 4),
        baseline="a linear model of the pixels",
        baseline_value=round(accuracy(linear, *tested), 4),
    )
    return Trained(in_colour(network).state_dict(), (figure,), facts={"class_names": list(CLASSES)})


@torch.no_grad()
def in_colour(network: SmallCnn) -> SmallCnn:
    """The same network for pictures of three colours."""
    wide = SmallCnn(len(CLASSES))
    state = dict(network.state_dict())
    state["blocks.0.conv.weight"] = state["blocks.0.conv.weight"].repeat(1, 3, 1, 1) / 3
    wide.load_state_dict(state)
    return wide.eval()


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of right first labels."""
    right = sum(
        int((network(x[i : i + _ROWS]).argmax(dim=1) == y[i : i + _ROWS]).sum()) for i in range(0, len(y), _ROWS)
    )
    return right / len(y)


RECIPES = (Recipe("fashion_cnn", DATA, train, 300),)
