"""Texts of callers, as logs and error details show them."""

import pytest

from service.observability.printable import LONGEST_ID, new_request_id, printable, shown_id


@pytest.mark.parametrize("text", ["", "r-1", "0192f0c1-7b1e-7cc0-8000-0242ac120002", "Zürich 東京", "a b"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text, 128) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"a\nb"),
        ("a\r\nlevel=error", r"a\r\nlevel=error"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\0b", r"a\x00b"),
        ("line\u2028separator", r"line\u2028separator"),
        ("right\u202eleft", r"right\u202eleft"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_characters_that_break_a_line_or_hide_are_escaped(text: str, shown: str) -> None:
    assert printable(text, 128) == shown


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\n" * 1_000_000, "é" * 200, "\n" * 127])
def test_long_text_is_cut_and_says_so(text: str) -> None:
    shown = shown_id(text)
    assert len(shown) == LONGEST_ID
    assert shown.endswith("…")
    assert shown.isprintable()


def test_text_of_the_longest_length_is_not_cut() -> None:
    assert shown_id("x" * LONGEST_ID) == "x" * LONGEST_ID


def test_new_ids_differ() -> None:
    assert len({new_request_id() for _ in range(100)}) == 100
