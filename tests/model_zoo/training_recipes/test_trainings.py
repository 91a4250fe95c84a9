"""Each recipe learns on a small slice of made data, and repeats itself."""

from __future__ import annotations

import gzip
import json
import struct
from typing import Any

import numpy as np
import torch

from model_zoo.architectures.small_cnn import SmallCnn
from model_zoo.cards.recipes import RowRecipe
from model_zoo.training_recipes import austen_gru, fashion_cnn, fashion_price, mood_gru, series_lstm
from model_zoo.training_recipes.data.fashion_mnist import in_three_colours
from model_zoo.training_recipes.determinism import repeatable
from model_zoo.training_recipes.fitting import Plan
from service.tasks.tabular.row_input import columns_of


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
    grey, wide = SmallCnn(10, colours=1).eval(), SmallCnn(10).eval()
    wide.load_state_dict(in_three_colours(grey.state_dict(), "blocks.0.conv.weight"))
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


def test_price_of_picture_and_row_is_better_told_from_both_than_from_either() -> None:
    known, unseen, tested = (
        fashion_price.constructed(files["images"], files["labels"], seed)
        for seed, files in enumerate(map(squares, (400, 60, 100)))
    )
    with repeatable():
        made = fashion_price.train_on(known, unseen, tested, lambda line: None, Plan(epochs=3, batch=20, rate=0.01))
    assert [figure.baseline for figure in made.figures[:2]] == ["the picture alone", "the row alone"]
    assert all(figure.value < 0.8 * figure.baseline_value for figure in made.figures)
    assert made.state["picture.blocks.0.conv.weight"].shape == (8, 3, 3, 3)
    assert made.facts["target"]["lower"] < 0 < made.facts["target"]["upper"]


def test_constructed_price_is_the_base_of_the_class_times_the_factors_of_the_row() -> None:
    files = squares(2000)
    made = fashion_price.constructed(files["images"], files["labels"], seed=3)
    again = fashion_price.constructed(files["images"], files["labels"], seed=3)
    np.testing.assert_array_equal(made.prices, again.prices)
    random = np.random.default_rng(2000)
    classes = random.integers(0, 10, 2000)
    rows = [made.row(i) for i in range(2000)]
    plain = [
        list(fashion_price.BASES.values())[kind]
        * fashion_price.BRANDS[str(row["brand"])]
        * fashion_price.CONDITIONS[str(row["condition"])]
        * fashion_price.YEARLY ** float(row["age_years"])
        for kind, row in zip(classes, rows, strict=True)
    ]
    noise = np.log(made.prices / plain)
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - fashion_price.NOISE) < 0.01


def test_served_row_has_the_columns_that_the_network_learned_from() -> None:
    """The order of one-hot categories in training is that of the card."""
    files = squares(20)
    pieces = fashion_price.constructed(files["images"], files["labels"], seed=0)
    scale = fashion_price.Scale.of(pieces)
    facts = fashion_price.facts_of(scale, np.array([-1.0, 1.0]))
    recipe = RowRecipe.model_validate(
        {"kind": "row", "numbers": facts["recipe.row.numbers"], "categories": facts["recipe.row.categories"]}
    )
    served = np.stack([columns_of(recipe, pieces.row(i)) for i in range(20)])
    np.testing.assert_allclose(served, scale.columns(pieces).numpy(), atol=1e-6)


def test_characters_of_a_repeating_text_are_foretold_beside_counts_of_the_same_text() -> None:
    random = np.random.default_rng(0)
    text = "".join(f"{name} said that it was so, {name}.\n" for name in random.choice(["Emma", "Jane", "Anne"], 500))
    with repeatable():
        made = austen_gru.train_on(
            text[:12_000], text[12_000:13_000], text[13_000:14_500], lambda line: None, Plan(3, 8, 0.02), hidden=24
        )
    assert made.figures[0].value < 0.5 * made.figures[0].baseline_value
    assert [figure.baseline_value for figure in made.figures] == sorted(
        (figure.baseline_value for figure in made.figures), reverse=True
    )
    alphabet = json.loads(made.companions["austen_gru.alphabet.json"])
    assert sorted(alphabet.values()) == [*range(1, len(alphabet) + 1)]
    assert made.facts["architecture.arguments.symbols"] == len(alphabet) + 1


def test_padded_rows_begin_with_padding_and_then_a_paragraph() -> None:
    text = "ab" * 100 + "\n" + "cd" * 200
    alphabet = {"\n": 1, "a": 2, "b": 3, "c": 4, "d": 5}
    inputs, following = austen_gru.padded_stretches(text, austen_gru.encoded(alphabet, text), 5)
    for row, after in zip(inputs.tolist(), following.tolist(), strict=True):
        length = row.count(austen_gru.PAD)
        assert 1 <= length <= austen_gru.WINDOW
        assert row[:length] == [austen_gru.PAD] * length
        assert row[length : length + 2] == [4, 5]
        assert after[length - 1] == 4
        assert after[:-1] == row[1:]
