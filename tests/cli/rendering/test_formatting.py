"""Counts and ages as people say them."""

from datetime import UTC, datetime

import pytest

from service.cli.commands.doctor import several
from service.cli.rendering.formatting import ago


@pytest.mark.parametrize(
    ("noun", "many"), [("alias", "aliases"), ("card", "cards"), ("job folder", "job folders"), ("home", "homes")]
)
def test_kinds_of_entries_have_their_plural(noun: str, many: str) -> None:
    assert several(noun) == many


def test_an_age_that_nobody_knows_is_left_out() -> None:
    assert ago(None) == ago(datetime.fromtimestamp(0, UTC)) == ""
    assert ago(datetime.now(UTC)) == "0 s ago"
