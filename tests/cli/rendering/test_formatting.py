"""Plurals and ages for people."""

from datetime import UTC, datetime

import pytest

from service.cli.rendering.formatting import format_age, plural


@pytest.mark.parametrize(
    ("noun", "many"), [("alias", "aliases"), ("card", "cards"), ("job folder", "job folders"), ("home", "homes")]
)
def test_plural_of_each_kind_of_finding_is_regular(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_age_of_an_unknown_moment_is_empty() -> None:
    assert format_age(None) == format_age(datetime.fromtimestamp(0, UTC)) == ""
    assert format_age(datetime.now(UTC)) == "0 s ago"
