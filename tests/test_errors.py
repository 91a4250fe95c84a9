"""The tree of errors is as errors.py draws it, and every message may be shown to anyone."""

import inspect
import re
from collections.abc import Iterator

import pytest

from service import errors
from service.errors import (
    DeadlineExceeded,
    Draining,
    InternalError,
    InvalidInput,
    NotFound,
    NotReady,
    QueueFull,
    TooLate,
    ZooError,
)


def kinds() -> list[type[ZooError]]:
    return [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, ZooError)]


def drawn() -> Iterator[str]:
    yield from re.findall(r"^[├└│ ─]*(\w+) {2,}", errors.__doc__ or "", re.MULTILINE)


def test_drawn_tree_shows_every_error() -> None:
    assert set(drawn()) == {kind.__name__ for kind in kinds()}


@pytest.mark.parametrize("kind", kinds())
def test_every_error_has_a_reason_for_programs(kind: type[ZooError]) -> None:
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", kind.reason)


def test_reasons_tell_errors_apart() -> None:
    reasons = [kind.reason for kind in kinds() if kind is not ZooError]
    assert len(reasons) == len(set(reasons))


def test_a_wrong_field_is_named_in_front() -> None:
    assert InvalidInput("inputs[0].shape", "expected 3, got 4").message == "inputs[0].shape: expected 3, got 4"
    assert InvalidInput("", "is empty").message == "is empty"


def test_similar_names_are_suggested_and_otherwise_known_ones() -> None:
    assert NotFound("model", "ct", ["cat", "cut"]).message == "unknown model 'ct'; did you mean 'cat' or 'cut'?"
    assert NotFound("model", "x", (), "models are cat").message == "unknown model 'x'; models are cat"
    assert NotFound("model", "x").message == "unknown model 'x'"


def test_internal_error_tells_only_the_log_reference() -> None:
    assert InternalError("ab12").message == "internal error; the server's log has the details under reference ab12"
    assert InternalError().message == "internal error; the server's log has the details"


def test_errors_worth_a_retry_have_a_retry_hint() -> None:
    assert QueueFull("m", 7, 8, 0.5).retry_after_s == 0.5
    assert TooLate(0.5).retry_after_s == 0.5
    assert isinstance(TooLate(), DeadlineExceeded)
    assert NotReady("loading", 1.0).retry_after_s == 1.0
    assert Draining().retry_after_s is None
    assert isinstance(Draining(), NotReady)
    assert str(DeadlineExceeded("in the queue")) == "the deadline passed in the queue"
