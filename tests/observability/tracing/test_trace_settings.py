"""Which requests are traced."""

import random

import pytest

from service.observability.tracing.trace_context import TraceContext
from service.observability.tracing.trace_settings import TraceChanges, TraceSettings

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("user-agent", "grpc"), ("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "a=1"))
UNSAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)
MALFORMED = (("traceparent", "wrong"),)


def sampled(settings: TraceSettings, metadata: object = (), model: str = "m", requests: int = 1000) -> int:
    random.seed(7)
    return sum(settings.sample(metadata, model) is not None for _ in range(requests))  # type: ignore[arg-type]


def test_sampled_parent_is_followed_whatever_the_ratio() -> None:
    settings = TraceSettings(on=True, ratio=0.0)
    assert settings.sample(SAMPLED, "m") == TraceContext(TRACE, SPAN, True, "a=1")


def test_parent_that_is_not_sampled_is_followed_whatever_the_ratio() -> None:
    assert sampled(TraceSettings(on=True, ratio=1.0), UNSAMPLED) == 0


@pytest.mark.parametrize("metadata", [(), MALFORMED])
def test_request_without_a_valid_parent_is_sampled_by_the_ratio(metadata: object) -> None:
    assert sampled(TraceSettings(on=True, ratio=0.0), metadata) == 0
    assert sampled(TraceSettings(on=True, ratio=1.0), metadata) == 1000
    assert 60 < sampled(TraceSettings(on=True, ratio=0.1), metadata) < 140


def test_new_trace_has_no_parent() -> None:
    context = TraceSettings(on=True, ratio=1.0).sample((), "m")
    assert context is not None
    assert (context.span_id, len(context.trace_id)) == ("", 32)


def test_nothing_is_sampled_where_tracing_is_off() -> None:
    assert sampled(TraceSettings(on=False, ratio=1.0), SAMPLED) == 0


def test_model_with_its_own_ratio_differs_from_the_others() -> None:
    settings = TraceSettings(on=True, ratio=0.0)
    settings.update("loud", TraceChanges(ratio=1.0))
    assert sampled(settings, model="loud") == 1000
    assert sampled(settings, model="m") == 0


def test_model_follows_all_models_in_what_was_not_set_for_it() -> None:
    settings = TraceSettings(on=True, ratio=0.0)
    settings.update("m", TraceChanges(ratio=1.0))
    settings.update("", TraceChanges(on=False))
    assert sampled(settings, model="m") == 0
    settings.update("m", TraceChanges(on=True))
    assert sampled(settings, model="m") == 1000


def test_cleared_setting_returns_to_that_of_all_models_and_then_of_the_start() -> None:
    settings = TraceSettings(on=True, ratio=0.25)
    settings.update("", TraceChanges(ratio=0.5))
    settings.update("m", TraceChanges(ratio=1.0))
    settings.update("m", TraceChanges(), ("ratio",))
    assert settings.policy("m").ratio == 0.5
    settings.update("", TraceChanges(), ("ratio",))
    assert settings.policy("m").ratio == settings.policy().ratio == 0.25


def test_count_ends_tracing_also_for_sampled_parents() -> None:
    settings = TraceSettings(on=True, ratio=1.0)
    settings.update("", TraceChanges(count=3))
    assert sampled(settings, SAMPLED) == 3
    assert settings.policy().remaining.count == 0
    settings.update("", TraceChanges(count=2))
    assert sampled(settings) == 2
    settings.update("", TraceChanges(), ("count",))
    assert sampled(settings) == 1000


def test_change_of_another_setting_keeps_what_is_left_of_the_count() -> None:
    settings = TraceSettings(on=True, ratio=1.0)
    settings.update("", TraceChanges(count=10))
    assert sampled(settings, requests=4) == 4
    settings.update("", TraceChanges(ratio=0.9999))
    settings.update("m", TraceChanges(ratio=1.0))
    assert settings.policy("m").remaining.count == 6


def test_models_without_a_count_of_their_own_share_one() -> None:
    settings = TraceSettings(on=True, ratio=1.0)
    settings.update("", TraceChanges(count=5))
    settings.update("own", TraceChanges(count=2))
    assert sampled(settings, model="own") == 2
    assert sampled(settings, model="a", requests=3) == 3
    assert sampled(settings, model="b") == 2
