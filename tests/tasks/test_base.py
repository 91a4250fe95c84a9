"""Options of all tasks are bounded before anything is made of them."""

from __future__ import annotations

import pytest

from service.errors import InvalidInput
from service.tasks.base import LONGEST_LABEL, MOST_LABELS, check_labels
from service.types import Options


@pytest.mark.parametrize("template", ["", "a label", "{} or {}", "{}" * 500, "{}" + "x" * LONGEST_LABEL])
def test_template_has_the_label_once_and_is_bounded(template: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"options\.hypothesis_template: expected at most 1,000 characters with {} once"
    ):
        check_labels(Options(candidate_labels=("a",), hypothesis_template=template))
    check_labels(Options(candidate_labels=("a",), hypothesis_template="This is {}."))


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ((), "options.candidate_labels"),
        (("a",) * 2, "options.candidate_labels"),
        (tuple(map(str, range(MOST_LABELS + 1))), "options.candidate_labels"),
        (("a", " "), "options.candidate_labels[1]"),
        (("x" * (LONGEST_LABEL + 1),), "options.candidate_labels[0]"),
    ],
)
def test_labels_are_bounded_and_differ(labels: tuple[str, ...], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        check_labels(Options(candidate_labels=labels))
    assert error.value.field == field
