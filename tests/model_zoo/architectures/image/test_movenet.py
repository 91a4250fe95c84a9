"""MoveNet with random weights: rows of a batch, precision, and how points are read from the maps."""

import pytest
import torch

from model_zoo.architectures.image.movenet import MoveNet

SIDE = 48


@pytest.fixture(scope="module")
def network() -> MoveNet:
    torch.manual_seed(3)
    return MoveNet(points=2).eval().requires_grad_(False)


def images(rows: int) -> torch.Tensor:
    return torch.rand(rows, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1


def maps(*channels: int) -> list[torch.Tensor]:
    return [torch.full((1, size, SIDE, SIDE), -9.0 if number < 2 else 0.0) for number, size in enumerate(channels)]


def test_row_answers_alone_as_in_a_batch(network: MoveNet) -> None:
    together = network(images(3))
    assert together.shape == (3, 2, 3)
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], network(images(3)[i : i + 1]), atol=1e-4, rtol=0)


def test_points_are_exact_in_bf16(network: MoveNet) -> None:
    torch.manual_seed(3)
    found = MoveNet(points=2).eval().to(torch.bfloat16)(images(1).to(torch.bfloat16))
    assert found.dtype == torch.float32


def test_point_is_the_best_place_near_where_the_person_reaches(network: MoveNet) -> None:
    """With its score, and the rest below a step."""
    centre, heat, reach, rest = maps(1, 2, 4, 4)
    centre[0, 0, 20, 30] = 5.0
    reach[0, :, 20, 30] = torch.tensor([-4.0, 6.0, 9.0, -2.0])  # (y, x) of the first point, then of the second
    heat[0, 0, 17, 36] = 2.0  # a step from (16, 36)
    heat[0, 0, 40, 5] = 3.0  # far away: another person
    heat[0, 1, 29, 28] = 1.0
    rest[0, :2, 17, 36] = torch.tensor([0.25, 0.5])
    found = network._read(centre, heat, reach, rest)[0]
    torch.testing.assert_close(found[0], torch.tensor([36.5 / SIDE, 17.25 / SIDE, torch.tensor(2.0).sigmoid()]))
    torch.testing.assert_close(found[1], torch.tensor([28.0 / SIDE, 29.0 / SIDE, torch.tensor(1.0).sigmoid()]))


def test_of_two_persons_the_one_nearer_to_the_middle_is_read(network: MoveNet) -> None:
    centre, heat, reach, rest = maps(1, 2, 4, 4)
    centre[0, 0, 22, 22], centre[0, 0, 2, 2] = 4.0, 5.0
    heat[0, :, 22, 22], heat[0, :, 2, 2] = 1.0, 2.0
    found = network._read(centre, heat, reach, rest)[0]
    torch.testing.assert_close(found[:, :2], torch.full((2, 2), 22 / SIDE))
