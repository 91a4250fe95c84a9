"""Attributions are short in a table, whole in JSON, and red where they speak for the label."""

import numpy as np
from PIL import Image

from service.cli.rendering.attributions import MOST_LINES, as_json, attribution_lines, with_heat_map
from service.client import Attribution, HeatMap, Label, WordWeight

LABEL = Label(3, "cat", 0.9)


def heat_map(*weights: float) -> HeatMap:
    """Cells of 2 × 2, over the right half of a picture of 40 × 20."""
    return HeatMap(np.array(weights, np.float32).reshape(2, 2), 20.0, 0.0, 40.0, 20.0)


def test_words_of_the_largest_weights_come_first_whatever_their_sign() -> None:
    words = tuple(
        WordWeight(i, i + 1, f"w{i}", weight) for i, weight in enumerate([0.1, -0.9, 0.3, 0.0, 0.2, 0.05, 0.01])
    )
    lines = attribution_lines(Attribution(LABEL, words))
    assert lines[:2] == ["its score rises by 0.900 without 'w1'", "its score falls by 0.300 without 'w2'"]
    assert len(lines) == MOST_LINES
    assert [word["text"] for word in as_json(Attribution(LABEL, words))["words"]] == [f"w{i}" for i in range(7)]


def test_line_of_an_image_is_its_strongest_cell() -> None:
    found = Attribution(LABEL, heat_map=heat_map(0.1, 0.2, 0.5, -0.9))
    assert attribution_lines(found) == ["its score falls by 0.500 without the part from (20, 10) to (30, 20)"]
    assert as_json(found)["heat_map"]["area"] == [20.0, 0.0, 40.0, 20.0]


def test_heat_map_is_red_for_the_label_blue_against_it_and_nothing_outside() -> None:
    grey = Image.new("RGB", (40, 20), (128, 128, 128))
    drawn = np.asarray(with_heat_map(grey, heat_map(1.0, -1.0, 1.0, -1.0)))
    assert (drawn[:, :20] == 128).all()
    assert (drawn[:, 22, 0] > drawn[:, 22, 2]).all()
    assert (drawn[:, 38, 0] < drawn[:, 38, 2]).all()
    assert grey.getpixel((30, 5)) == (128, 128, 128)


def test_heat_map_without_any_weight_changes_nothing() -> None:
    grey = Image.new("RGB", (40, 20), (128, 128, 128))
    assert (np.asarray(with_heat_map(grey, heat_map(0, 0, 0, 0))) == 128).all()
