"""Counts and ages as people say them."""

from datetime import UTC, datetime

import pytest

from service.cli.commands.doctor import plural
from service.cli.rendering.formatting import format_age


@pytest.mark.parametrize(
    ("noun", "many"), [("alias", "aliases"), ("card", "cards"), ("job folder", "job folders"), ("home", "homes")]
)
def test_kinds_of_entries_have_their_plural(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_an_age_that_nobody_knows_is_left_out() -> None:
    assert format_age(None) == format_age(datetime.fromtimestamp(0, UTC)) == ""
    assert format_age(datetime.now(UTC)) == "0 s ago"
