"""A constructed price of a piece of clothing, from its picture and a row of a table: a joined network, beside the picture
alone and the row alone.

The pictures are Fashion-MNIST. The prices are none of a shop: the kind of the piece, which only the picture shows, has a
base price; the brand, the condition and the age in the row multiply it, and seeded noise of about a tenth is added. A good
answer therefore needs both. Of the 60,000 training pictures 20,000 train, and 2,500 others choose the epoch and give the
interval of errors; the 10,000 test pictures are measured. The networks learn with one colour, for speed, and the joined
one is served for three.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from model_zoo.architectures.feed_forward import FeedForward
from model_zoo.architectures.image.joined_cnn import JoinedCnn
from model_zoo.cards.card import Figure
from model_zoo.training_recipes.data.fashion_mnist import CLASSES, FASHION_MNIST, in_three_colours, labels, pictures
from model_zoo.training_recipes.fitting import Plan, fit
from model_zoo.training_recipes.recipe import Recipe, Report, Trained

__all__ = ["RECIPES", "Pieces", "Scale", "constructed", "train", "train_on"]

BASES = dict(zip(CLASSES, (15, 40, 45, 60, 110, 50, 35, 80, 90, 140), strict=True))
"""Dollars of a new piece of a plain brand."""
BRANDS = {"known": 1.6, "luxury": 3.0, "plain": 1.0}
CONDITIONS = {"good": 0.7, "new": 1.0, "worn": 0.4}
"""Factors, by category in the order of the card."""
YEARLY = 0.93
"""Factor of each year of age."""
OLDEST = 10.0
"""Years."""
NOISE = 0.1
"""Standard deviation of the logarithm of a price."""
TRAINING, VALIDATION = 20_000, 2_500
"""Pictures."""
CHANNELS, HIDDEN = (8, 16, 32), (64, 32)
PLAN = Plan(epochs=4, batch=64, rate=0.004, weight_decay=0.01)
_ROWS = 1_000

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Pieces:
    """Pieces of clothing, n of them."""

    pixels: Tensor
    """(n, 1, 28, 28), standardised."""
    age: Array
    """Years (n), in tenths."""
    brand: NDArray[np.int64]
    condition: NDArray[np.int64]
    """Positions (n) in ``BRANDS`` and in ``CONDITIONS``."""
    prices: Array
    """Dollars (n)."""

    def part(self, rows: slice) -> "Pieces":
        """Some of them."""
        return Pieces(self.pixels[rows], self.age[rows], self.brand[rows], self.condition[rows], self.prices[rows])

    def row(self, at: int) -> dict[str, str | float]:
        """The row of one piece, as a caller sends it."""
        brand, condition = list(BRANDS)[self.brand[at]], list(CONDITIONS)[self.condition[at]]
        return {"age_years": float(self.age[at]), "brand": brand, "condition": condition}


@dataclass(frozen=True)
class Scale:
    """What is taken from the training rows."""

    age: Mapping[str, float]
    """``mean``, ``std`` and ``fill``."""
    mean: float
    std: float
    """Of the prices."""

    @classmethod
    def of(cls, known: Pieces) -> "Scale":
        """Of the training rows."""
        age, prices = known.age, known.prices
        numbers = {"mean": age.mean(), "std": age.std(), "fill": np.median(age)}
        rounded = {name: round(float(number), 6) for name, number in numbers.items()}
        return cls(rounded, round(float(prices.mean()), 6), round(float(prices.std()), 6))

    def columns(self, pieces: Pieces) -> Tensor:
        """(n, 7): the standardised age, and both categories one-hot, as a served row is read."""
        age = (pieces.age - self.age["mean"]) / self.age["std"]
        brand, condition = np.eye(len(BRANDS))[pieces.brand], np.eye(len(CONDITIONS))[pieces.condition]
        return torch.from_numpy(np.concatenate([age[:, None], brand, condition], axis=1)).float()


Inputs = Callable[[Pieces], dict[str, Tensor]]
"""Pieces → the inputs of a network, by the names of its arguments."""


def constructed(images: bytes, kinds: bytes, seed: int) -> Pieces:
    """Pictures and classes as the data set keeps them, with rows by chance and their constructed prices."""
    pixels, classes = pictures(images), labels(kinds).numpy()
    random, count = np.random.default_rng(seed), len(classes)
    age = np.round(random.uniform(0, OLDEST, count), 1)
    brand, condition = (random.integers(0, len(names), count) for names in (BRANDS, CONDITIONS))
    base, by_brand, by_condition = (np.array([*of.values()], np.float64) for of in (BASES, BRANDS, CONDITIONS))
    noise = np.exp(random.normal(0, NOISE, count))
    prices = base[classes] * by_brand[brand] * by_condition[condition] * YEARLY**age * noise
    return Pieces(pixels, age, brand, condition, np.round(prices, 2))


def train(files: Mapping[str, bytes], report: Report) -> Trained:
    """See the module. Files by role: ``train_images``, ``train_labels``, ``test_images``, ``test_labels``."""
    known = constructed(files["train_images"], files["train_labels"], seed=0).part(slice(TRAINING + VALIDATION))
    tested = constructed(files["test_images"], files["test_labels"], seed=1)
    return train_on(known.part(slice(TRAINING)), known.part(slice(TRAINING, None)), tested, report)


def train_on(known: Pieces, unseen: Pieces, tested: Pieces, report: Report, plan: Plan = PLAN) -> Trained:
    """Trains three networks on pieces, of which others choose the epoch, and measures them on a third part."""
    scale = Scale.of(known)
    width = scale.columns(known).shape[1]
    torch.manual_seed(0)
    joined = JoinedCnn(width, CHANNELS, HIDDEN, colours=1)
    torch.manual_seed(0)
    contenders: tuple[tuple[str, nn.Module, Inputs], ...] = (
        ("picture and row", joined, lambda some: {"pixel_values": some.pixels, "columns": scale.columns(some)}),
        ("the picture alone", JoinedCnn(0, CHANNELS, HIDDEN, colours=1), lambda some: {"pixel_values": some.pixels}),
        ("the row alone", FeedForward(width, HIDDEN, activation="relu"), lambda some: {"numbers": scale.columns(some)}),
    )
    targets = torch.from_numpy((known.prices - scale.mean) / scale.std).float()[:, None]
    errors = {}
    for name, network, inputs in contenders:

        def off(part: Pieces, network: nn.Module = network, inputs: Inputs = inputs) -> Array:
            return part.prices - dollars(network, inputs(part), scale)

        def validate(off: Callable[[Pieces], Array] = off) -> float:
            return float(np.abs(off(unseen)).mean())

        report(f"{name}, dollars off:")
        fit(network, inputs(known), targets, functional.smooth_l1_loss, plan, validate, report)
        errors[name] = round(float(np.abs(off(tested)).mean()), 2)
    own, *others = errors.items()
    median = round(float(np.abs(tested.prices - np.median(known.prices)).mean()), 2)
    figures = tuple(
        Figure(
            name=f"mean absolute error on {len(tested.prices):,} pictures with rows, constructed dollars",
            value=own[1],
            baseline=baseline,
            baseline_value=error,
        )
        for baseline, error in (*others, ("always the median price of the training rows", median))
    )
    missed = unseen.prices - dollars(joined, contenders[0][2](unseen), scale)
    state = in_three_colours(joined.state_dict(), "picture.blocks.0.conv.weight")
    return Trained(state, figures, facts=facts_of(scale, missed))


@torch.no_grad()
def dollars(network: nn.Module, inputs: Mapping[str, Tensor], scale: Scale) -> Array:
    """Predicted prices, (n)."""
    count = len(next(iter(inputs.values())))
    parts = [network(**{n: x[i : i + _ROWS] for n, x in inputs.items()}) for i in range(0, count, _ROWS)]
    found: Array = torch.cat(parts)[:, 0].double().numpy() * scale.std + scale.mean
    return found


def facts_of(scale: Scale, missed: Array) -> dict[str, Any]:
    """Fields of the card, with the interval of 80 % of the errors."""
    number = {"name": "age_years", **scale.age, "decimal": ".", "grouping": "", "unit": ""}
    lower, upper = (round(float(end), 2) for end in np.quantile(missed, [0.1, 0.9]))
    return {
        "recipe.row.numbers": [number],
        "recipe.row.categories": [
            {"name": "brand", "categories": [*BRANDS]},
            {"name": "condition", "categories": [*CONDITIONS]},
        ],
        "target": {"mean": scale.mean, "std": scale.std, "lower": lower, "upper": upper},
    }


RECIPES = (Recipe("fashion_price", FASHION_MNIST, train, 120),)
