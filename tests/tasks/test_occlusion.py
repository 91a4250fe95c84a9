"""Windows cover an image evenly, and each cell gets the mean of those over it."""

import numpy as np
import pytest

from service.tasks.occlusion import GRID, MOST_PARTS, WINDOW, hidden, mean_by_cell, windows


def test_windows_are_no_more_than_the_parts_of_an_instance() -> None:
    assert len(windows()) == (GRID - WINDOW + 1) ** 2 <= MOST_PARTS


@pytest.mark.parametrize("size", [(224, 224), (112, 300), (13, 12), (7, 5)])
def test_windows_hide_every_pixel_and_leave_the_image_as_it_is(size: tuple[int, int]) -> None:
    image = np.ones((3, *size), np.float32)
    shown = np.min([hidden(image, window) for window in windows()], axis=0)
    assert not shown.any()
    assert image.all()


def test_window_hides_its_cells_and_nothing_else() -> None:
    shown = hidden(np.ones((3, 24, 48), np.float32), (slice(0, 3), slice(9, 12)))
    assert not shown[:, :6, 36:].any()
    assert shown.sum() == 3 * (24 * 48 - 6 * 12)


def test_equal_losses_give_equal_weights_at_the_edges_too() -> None:
    assert np.allclose(mean_by_cell(np.full(len(windows()), 0.25)), 0.25)


def test_weight_of_a_cell_is_the_mean_over_the_windows_that_cover_it() -> None:
    lost = np.zeros(len(windows()))
    lost[0] = 0.9  # the upper left window
    weights = mean_by_cell(lost)
    assert weights[0, 0] == np.float32(0.9)  # no other window covers the corner
    assert weights[2, 2] == np.float32(0.1)  # nine do
    assert not weights[WINDOW:].any()
    assert not weights[:, WINDOW:].any()
