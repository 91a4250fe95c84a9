"""Every example is in the training, validation or test data, or is left out with a reason."""

from types import SimpleNamespace
from typing import Any

import pytest

from service.training.data.accounting import account_for_examples, send_left_out, send_truncated
from service.training.protocol import WorkerMessage


def job(left_out: dict[int, str], truncated: set[int] | None = None) -> Any:
    return SimpleNamespace(
        examples=[SimpleNamespace(origin=f"{i}.jpg") for i in range(10)],
        left_out=left_out,
        truncated=truncated or set(),
        base=SimpleNamespace(name="ears"),
    )


@pytest.mark.parametrize(
    "splits",
    [
        {"train": (0, 1, 2, 3, 4), "validation": (5, 6), "test": (7,)},
        {"train": (0, 1, 2, 3, 4), "validation": (0, 1, 2, 3, 4), "test": (7,)},
        {"train": (0, 1), "validation": (5, 6), "test": (5, 6)},
        {"train": tuple(range(10)), "validation": (), "test": ()},
    ],
)
def test_every_example_is_used_or_left_out(splits: dict[str, tuple[int, ...]]) -> None:
    found = account_for_examples(job({8: "the image is truncated or damaged"}), splits)
    assert found.given == 10 == found.train + found.validation + found.test + found.left_out
    assert sum(found.reasons.values()) == found.left_out


def test_reasons_that_differ_in_names_and_numbers_are_counted_as_one() -> None:
    left_out = {8: "expected at most 60 seconds of sound, got 61", 9: "expected at most 60 seconds of sound, got 75"}
    found = account_for_examples(job(left_out), {"train": tuple(range(8)), "validation": (), "test": ()})
    assert list(found.reasons.values()) == [2]
    assert found.first[0] == ("8.jpg", left_out[8])
    messages: list[WorkerMessage] = []
    send_left_out(job(left_out), messages.append)
    texts = [line.text for line in messages]  # type: ignore[union-attr]
    assert texts[0] == "left out 8.jpg: expected at most 60 seconds of sound, got 61"
    assert texts[-1].startswith("left out 2 of 10 examples: 2 × expected at most")


def test_no_warning_is_sent_if_nothing_is_left_out_or_truncated() -> None:
    messages: list[WorkerMessage] = []
    send_left_out(job({}), messages.append)
    send_truncated(job({}), messages.append)
    assert not messages


def test_long_examples_are_counted_where_they_are_used_and_named_in_a_warning() -> None:
    given = job({8: "is broken"}, {0, 1, 2, 3, 4, 5, 8})
    assert account_for_examples(given, {"train": (0, 1, 2, 3, 4), "validation": (5,), "test": (7,)}).truncated == 6
    messages: list[WorkerMessage] = []
    send_truncated(given, messages.append)
    (line,) = messages
    assert line.text == (  # type: ignore[union-attr]
        "'ears' reads a part only of 7 of 10 examples, which are longer than its input: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, …"
    )
