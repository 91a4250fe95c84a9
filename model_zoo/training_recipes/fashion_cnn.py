"""Clothes of ten kinds on pictures of 28 × 28 grey pixels: a small convolutional network, beside a linear model of the
pixels.

The data are Fashion-MNIST (Xiao, Rasul and Vollgraf, arXiv:1708.07747). The last 5,000 of the 60,000 training pictures
choose the epoch; the 10,000 test pictures are measured once. The network learns with one colour, for speed, and is
served for three.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.small_cnn import SmallCnn
from model_zoo.cards.card import Figure
from model_zoo.training_recipes.data.fashion_mnist import CLASSES, FASHION_MNIST, in_three_colours, labels, pictures
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.recipe import Recipe, Report, Trained

__all__ = ["RECIPES", "train"]

HELD_BACK = 5_000
PLAN = Plan(epochs=4, batch=128, rate=0.004, weight_decay=0.01)
LINEAR_PLAN = Plan(epochs=4, batch=128, rate=0.002)
_ROWS = 1_000


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
    state = in_three_colours(network.state_dict(), "blocks.0.conv.weight")
    return Trained(state, (figure,), facts={"class_names": list(CLASSES)})


@torch.no_grad()
def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of right first labels."""
    right = sum(
        int((network(x[i : i + _ROWS]).argmax(dim=1) == y[i : i + _ROWS]).sum()) for i in range(0, len(y), _ROWS)
    )
    return right / len(y)


RECIPES = (Recipe("fashion_cnn", FASHION_MNIST, train, 300),)
