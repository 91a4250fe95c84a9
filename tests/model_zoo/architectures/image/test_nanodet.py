"""The detector with random weights: its places and boxes, rows of a batch, and the order of colours."""

import pytest
import torch

from model_zoo.architectures.image.nanodet import NanoDet

CLASSES, BINS = 3, 5


@pytest.fixture
def network() -> NanoDet:
    torch.manual_seed(3)
    made = NanoDet(classes=CLASSES, bins=BINS, channels=8, blocks=(1, 1, 1, 2), width=8)
    return made.eval().requires_grad_(False)


def images(rows: int, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(rows, 3, height, width, generator=torch.Generator().manual_seed(1))


def put_distances(network: NanoDet, level: int, edges: tuple[int, int, int, int]) -> None:
    """Makes the head of a map answer that the edges of each box are so many steps away."""
    output = network.outputs[level]
    assert isinstance(output, torch.nn.Conv2d)
    output.weight.zero_()
    assert output.bias is not None
    output.bias.zero_()
    for edge, steps in enumerate(edges):
        output.bias[CLASSES + edge * BINS + steps] = 100.0


def test_each_place_of_three_maps_has_logits_and_a_box(network: NanoDet) -> None:
    logits, boxes = network(images(2))
    places = 8 * 12 + 4 * 6 + 2 * 3
    assert logits.shape == (2, places, CLASSES)
    assert boxes.shape == (2, places, 4)
    assert (boxes[..., 2:] >= 0).all(), "no side is negative"


def test_network_of_the_card_has_3549_places() -> None:
    sides = [416 // stride for stride in NanoDet(channels=2, width=2).strides]
    assert sum(side * side for side in sides) == 3549


def test_box_of_a_place_reaches_as_far_as_its_distances_say(network: NanoDet) -> None:
    put_distances(network, 0, (1, 2, 3, 0))  # left, top, right, bottom, in steps of 8 pixels
    _, boxes = network(images(1))
    place = 2 * 12 + 5  # third row, sixth column: its middle is (44, 20)
    x, y, width, height = boxes[0, place] * torch.tensor([96.0, 64.0, 96.0, 64.0])
    assert (x - width / 2).item() == pytest.approx(44 - 8)
    assert (y - height / 2).item() == pytest.approx(20 - 16)
    assert (x + width / 2).item() == pytest.approx(44 + 24)
    assert (y + height / 2).item() == pytest.approx(20)


def test_coarser_maps_count_in_longer_steps(network: NanoDet) -> None:
    for level in range(3):
        put_distances(network, level, (1, 1, 1, 1))
    _, boxes = network(images(1))
    starts = (0, 8 * 12, 8 * 12 + 4 * 6)
    widths = [boxes[0, start, 2].item() * 96 for start in starts]
    assert widths == pytest.approx([16, 32, 64])


def test_row_answers_alone_as_in_a_batch(network: NanoDet) -> None:
    batch = images(3)
    together = network(batch)
    for i in range(3):
        for whole, alone in zip(together, network(batch[i : i + 1]), strict=True):
            torch.testing.assert_close(whole[i : i + 1], alone, atol=1e-5, rtol=0)


def test_colours_are_read_in_the_order_blue_green_red(network: NanoDet) -> None:
    image = images(1)
    seen: list[torch.Tensor] = []
    network.stem.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network(image)
    assert torch.equal(seen[0], image[:, [2, 1, 0]])


def test_boxes_stay_exact_in_bf16(network: NanoDet) -> None:
    put_distances(network, 0, (1, 1, 1, 1))
    _, boxes = network.to(torch.bfloat16)(images(1, 64, 416).to(torch.bfloat16))
    assert boxes.dtype == torch.float32
    torch.testing.assert_close(boxes[0, :52, 0], (torch.arange(52) + 0.5) / 52)


def test_finer_places_hear_of_the_coarse_map_and_the_other_way_round(network: NanoDet) -> None:
    maps = [torch.zeros(1, size, side, side) for size, side in ((32, 8), (64, 4), (128, 2))]
    for lateral in network.laterals:
        torch.nn.init.zeros_(lateral.bias)
    for level in range(3):
        given = [m.clone() for m in maps]
        given[level] += 1.0
        assert all(m.abs().max() > 0 for m in network.joined(given))
