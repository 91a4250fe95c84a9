"""The loss of a detector: which places learn a box, and that the right answer costs the least."""

import pytest
import torch

from service.training.loop.detection_loss import assigned, detection_loss, generalized_overlaps, overlaps, places_of

STRIDES, SIDE = (8, 16, 32), 64
BOX = (0.25, 0.25, 0.75, 0.75)


def targets(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor([[*rows, (-1.0, 0, 0, 0, 0)]])


def test_places_are_those_of_the_network_in_its_order() -> None:
    places = places_of(STRIDES, SIDE, 2 * SIDE)
    assert places.counts == (8 * 16, 4 * 8, 2 * 4)
    assert places.centres[0].tolist() == [4 / 128, 4 / 64]
    assert places.centres[1].tolist() == [12 / 128, 4 / 64], "row by row"
    assert places.anchors[8 * 16].tolist() == pytest.approx([(8 - 40) / 128, (8 - 40) / 64, 48 / 128, 48 / 64])


def test_places_inside_learn_the_box_that_fits_them_best() -> None:
    places = places_of(STRIDES, SIDE, SIDE)
    numbers = assigned(places, torch.tensor([BOX, (0.0, 0.0, 0.2, 0.2)]))
    assert set(numbers.tolist()) == {-1, 0, 1}
    x, y = places.centres[numbers == 0].unbind(1)
    assert ((x > 0.25) & (x < 0.75) & (y > 0.25) & (y < 0.75)).all()
    assert (assigned(places, torch.zeros(0, 4)) == -1).all()


def test_overlaps_of_boxes() -> None:
    a, b = torch.tensor([0.0, 0.0, 0.5, 0.5]), torch.tensor([0.5, 0.5, 1.0, 1.0])
    assert (overlaps(a, b).item(), generalized_overlaps(a, b).item()) == (0.0, pytest.approx(-0.5))
    assert generalized_overlaps(a, a).item() == pytest.approx(1.0)


def test_right_answer_costs_least_and_pictures_without_boxes_learn_that_nothing_is_there() -> None:
    places = places_of(STRIDES, SIDE, SIDE)
    count = len(places.centres)
    right = torch.full((1, count, 6), -8.0)
    right[..., 2:] = torch.tensor([0.5, 0.5, 0.5, 0.5])
    right[0, assigned(places, torch.tensor([BOX])) == 0, 1] = 8.0
    wanted = targets((1.0, *BOX))
    best = detection_loss(places, right, wanted).item()
    assert best < 0.01
    moved, other = right.clone(), right[..., [1, 0, 2, 3, 4, 5]]
    moved[..., 2] += 0.2
    for worse in (moved, other, right[:, torch.randperm(count, generator=torch.Generator().manual_seed(0))]):
        assert detection_loss(places, worse, wanted).item() > 10 * best
    none = targets()
    silent = torch.full_like(right, -8.0)
    assert detection_loss(places, silent, none).item() < 0.01 < detection_loss(places, right, none).item()
