"""Each recipe learns on a small slice of made data, and repeats itself."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import numpy as np
import torch

from model_zoo.training_recipes import fashion_cnn, mood_gru, series_lstm
from model_zoo.training_recipes.determinism import repeatable
from model_zoo.training_recipes.fitting import Plan


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def squares(count: int) -> dict[str, bytes]:
    """Pictures with a bright square whose place is the class."""
    random = np.random.default_rng(count)
    y = random.integers(0, 10, count)
    x = random.integers(0, 60, (count, 28, 28))
    for i, label in enumerate(y):
        x[i, 14 * (label // 5) : 14 * (label // 5) + 10, 5 * (label % 5) : 5 * (label % 5) + 5] = 250
    return {"images": idx(x), "labels": idx(y)}


def test_pictures_with_three_equal_colours_get_the_answers_of_grey_ones() -> None:
    torch.manual_seed(0)
    grey = fashion_cnn.SmallCnn(10, colours=1).eval()
    wide = fashion_cnn.in_colour(grey)
    x = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(wide(x.repeat(1, 3, 1, 1)), grey(x), atol=1e-5, rtol=1e-5)


def test_cnn_learns_places_and_repeats_itself() -> None:
    files = {
        f"{part}_{name}": content for part, n in (("train", 600), ("test", 100)) for name, content in squares(n).items()
    }
    plan = Plan(epochs=3, batch=50, rate=0.01)

    def once() -> Any:
        with repeatable():
            return fashion_cnn.train(files, lambda line: None, plan, Plan(epochs=1, batch=50, rate=0.002))

    made, again = once(), once()
    assert made.figures[0].value > 0.3
    assert made.state["blocks.0.conv.weight"].shape == (16, 3, 3, 3)
    assert all(torch.equal(tensor, again.state[name]) for name, tensor in made.state.items())


def test_gru_tells_reviews_apart_by_a_word() -> None:
    words = ["the", "tea", "was", "bought", "here", "and", "came", "late"]
    random = np.random.default_rng(0)
    classes = random.integers(0, 2, 400)
    texts = [
        " ".join([*random.choice(words, 6), ("Delicious!", "stale...")[c], *random.choice(words, 4)]) for c in classes
    ]
    y = torch.from_numpy(classes)
    with repeatable():
        made = mood_gru.train_on(
            (texts[:300], y[:300]), (texts[300:], y[300:]), lambda line: None, Plan(epochs=6, batch=20, rate=0.01)
        )
    [figure] = made.figures
    assert figure.value > 0.95 > 0.7 > figure.baseline_value
    vocabulary = json.loads(made.companions["mood_gru.tokenizer.json"])["model"]["vocab"]
    assert vocabulary["[PAD]"] == 0
    assert "delicious" in vocabulary
    assert made.facts["architecture.arguments.vocab_size"] == len(vocabulary)


def test_forecaster_beats_the_week_before_on_a_week_that_drifts() -> None:
    days = np.arange(700)
    series = 10 + 3 * np.sin(2 * np.pi * days / 7) + 2 * np.sin(2 * np.pi * days / 60)
    with repeatable():
        made = series_lstm.train_on(
            series, lambda line: None, Plan(epochs=4, batch=32, rate=0.005), test=100, validation=100
        )
    [figure] = made.figures
    assert figure.value < figure.baseline_value / 2
    assert {len(ends) for ends in made.facts["forecast"].values()} == {7}
