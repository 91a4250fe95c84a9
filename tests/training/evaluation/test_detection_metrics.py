"""Average precision of boxes: COCO's rules on cases that can be counted by hand."""

import numpy as np
import pytest

from service.training.evaluation.detection_metrics import best_threshold, detection, hits, judged

FAR = (0.9, 0.9, 1.0, 1.0)


def values(
    found: list[list[tuple[float, ...]]], true: list[list[tuple[float, ...]]], labels: int = 1
) -> tuple[float, float]:
    outputs, targets = judged(
        [np.array(rows, np.float64).reshape(-1, 6) for rows in found],
        [np.array(rows, np.float64).reshape(-1, 5) for rows in true],
        labels,
    )
    statistics = detection(outputs, targets)
    alike = np.ones((1, len(true)))
    return float(statistics["map"](alike)[0]), float(statistics["map_50"](alike)[0])


def test_example_of_torchmetrics() -> None:
    # Documentation of torchmetrics.detection.MeanAveragePrecision: an overlap of 0.78 is right at 6 of 10 thresholds.
    assert values([[(0, 0.536, 258, 41, 606, 285)]], [[(0, 214, 41, 562, 285)]]) == pytest.approx((0.6, 1.0))


def test_recall_is_read_at_101_levels() -> None:
    box, other = (0.0, 0.0, 0.4, 0.4), (0.5, 0.5, 0.8, 0.8)
    # Of two true boxes one is found, behind a wrong one: precision 1/2 on the levels 0 to 0.5, 51 of them.
    found = [[(0, 0.9, *FAR), (0, 0.8, *box)]]
    assert values(found, [[(0, *box), (0, *other)]])[1] == pytest.approx(51 / 101 / 2)
    assert values([[(0, 0.9, *box), (0, 0.8, *other)]], [[(0, *box), (0, *other)]]) == pytest.approx((1.0, 1.0))


def test_true_box_counts_once_and_boxes_of_another_class_are_wrong() -> None:
    box = (0.0, 0.0, 0.4, 0.4)
    twice = np.array([(0, 0.9, *box), (0, 0.8, *box), (1, 0.7, *box)])
    assert hits(twice, np.array([(0, *box)]))[:, 0].tolist() == [1.0, 0.0, 0.0]
    assert values([[(1, 0.9, *box)]], [[(0, *box)]], labels=2) == (0.0, 0.0)
    assert values([[]], [[(0, *box)]]) == (0.0, 0.0)


def test_labels_without_a_true_box_do_not_count_and_weights_repeat_pictures() -> None:
    box = (0.0, 0.0, 0.4, 0.4)
    found, true = [[(0, 0.9, *box)], [(0, 0.95, *FAR)]], [[(0, *box)], [(0, *box)]]
    assert values(found, true, labels=3)[1] == pytest.approx(51 / 101 / 2)
    outputs, targets = judged([np.array(rows) for rows in found], [np.array(rows) for rows in true], 3)
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    got = detection(outputs, targets)["map_50"](weights)
    assert got[:2].tolist() == [1.0, 0.0]
    assert np.isnan(got[2])


def test_best_threshold_lies_below_the_last_box_that_is_worth_it() -> None:
    box = (0.0, 0.0, 0.4, 0.4)
    found = [np.array([(0, 0.4, *box), (0, 0.2, *FAR)]), np.array([(0, 0.3, *box), (0, 0.1, *FAR)])]
    true = [np.array([(0, *box)])] * 2
    assert best_threshold(*judged(found, true, 1)) == pytest.approx(0.25)
    assert best_threshold(*judged([np.array([(0, 0.9, *FAR)])], true[:1], 1)) is None
