"""Triton's trace settings, of all models and of one."""

from typing import Any

import pytest

from service.errors import IllegalMove, InvalidInput
from service.observability.tracing.request_tracing import Tracing
from service.observability.tracing.trace_settings import TraceSettings
from service.pb import open_inference_pb2 as pb
from service.wire.open_inference.trace_settings import trace_settings, update_trace_settings
from tests.support.wire.open_inference import served

FIXED = {"trace_mode": ["opentelemetry"], "trace_file": [""], "log_frequency": ["0"]}


def request(model: str = "", **settings: Any) -> pb.TraceSettingRequest:
    """As tritonclient makes it; None is a setting without a value."""
    made = pb.TraceSettingRequest(model_name=model)
    for name, value in settings.items():
        entry = made.settings[name]
        if value is not None:
            entry.value.extend(value if isinstance(value, list) else [value])
    return made


def plain(response: pb.TraceSettingResponse) -> dict[str, list[str]]:
    return {name: list(value.value) for name, value in response.settings.items()}


def settings() -> TraceSettings:
    return TraceSettings(on=True, ratio=0.01)


def test_settings_are_shown_as_triton_shows_them() -> None:
    own = {"trace_level": ["TIMESTAMPS"], "trace_rate": ["100"], "trace_ratio": ["0.01"], "trace_count": ["-1"]}
    assert plain(trace_settings(settings().policy())) == own | FIXED


@pytest.mark.parametrize(
    ("ratio", "rate"),
    [("1", "1"), ("1.", "1"), (".5", "2"), ("1E-3", "1000"), ("1e-320", "2147483647"), ("5e-324", "2147483647")],
)
def test_ratio_that_was_set_is_read_back_with_a_rate_that_can_be_set(ratio: str, rate: str) -> None:
    changed = settings()
    update_trace_settings(changed, request(trace_ratio=ratio))
    shown = plain(trace_settings(changed.policy()))
    assert (float(shown["trace_ratio"][0]), shown["trace_rate"]) == (float(ratio), [rate])
    for name in ("trace_ratio", "trace_rate"):
        given: dict[str, Any] = {name: shown[name]}
        update_trace_settings(changed, request(**given))


def test_smallest_ratio_of_the_start_is_shown() -> None:
    shown = plain(trace_settings(TraceSettings(on=True, ratio=5e-324).policy()))
    assert shown["trace_rate"] == ["2147483647"]


def test_server_without_a_collector_shows_that_nothing_is_traced() -> None:
    shown = plain(trace_settings(None))
    assert (shown["trace_level"], shown["trace_rate"]) == (["OFF"], ["0"])


@pytest.mark.parametrize(
    ("given", "on", "ratio", "count"),
    [
        ({"trace_level": "OFF"}, False, 0.01, -1),
        ({"trace_level": ["TIMESTAMPS"]}, True, 0.01, -1),
        ({"trace_rate": "4"}, True, 0.25, -1),
        ({"trace_rate": "0"}, True, 0.0, -1),
        ({"trace_ratio": "0.3"}, True, 0.3, -1),
        ({"trace_count": "10"}, True, 0.01, 10),
        ({"trace_count": "-1"}, True, 0.01, -1),
        ({"trace_mode": "opentelemetry", "trace_file": "", "log_frequency": "0"}, True, 0.01, -1),
        ({"trace_level": ["OFF"], "trace_rate": ["2"], "trace_count": ["0"]}, False, 0.5, 0),
    ],
)
def test_each_setting_takes_its_values(given: dict[str, Any], on: bool, ratio: float, count: int) -> None:
    changed = settings()
    update_trace_settings(changed, request(**given))
    policy = changed.policy()
    assert (policy.on, policy.ratio, policy.remaining.count) == (on, ratio, count)


def test_setting_without_a_value_returns_to_the_value_of_all_models() -> None:
    changed = settings()
    update_trace_settings(changed, request("m", trace_rate="1", trace_level="OFF"))
    assert (changed.policy("m").on, changed.policy("m").ratio) == (False, 1.0)
    update_trace_settings(changed, request("m", trace_rate=None, trace_level=None))
    assert changed.policy("m") == changed.policy()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"trace_file": "/etc/passwd"}, "settings[trace_file]: cannot be set: the server opens no file that a caller"),
        ({"trace_mode": "triton"}, "settings[trace_mode]: cannot be set: expected 'opentelemetry', got 'triton'"),
        ({"log_frequency": "5"}, "settings[log_frequency]: cannot be set: expected '0', got '5'"),
        ({"trace_level": "TENSORS"}, "settings[trace_level]: tensors are not traced: a trace has no payloads"),
        ({"trace_level": ["TIMESTAMPS", "TENSORS"]}, "tensors are not traced"),
        ({"trace_level": "MAX"}, "settings[trace_level]: expected TIMESTAMPS or OFF, got 'MAX'"),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, "expected TIMESTAMPS or OFF, got 'OFF', 'TIMESTAMPS'"),
        ({"trace_rate": "-1"}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_rate": "1.5"}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_rate": ["1", "2"]}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_rate": "9" * 5000}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_ratio": "1.01"}, "settings[trace_ratio]: expected a number from 0 to 1, got '1.01'"),
        ({"trace_ratio": "nan"}, "settings[trace_ratio]: expected a number from 0 to 1, got 'nan'"),
        ({"trace_rate": "1_000"}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_rate": "１"}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_rate": " 5 "}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_rate": "5\n"}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_rate": "1e3"}, "settings[trace_rate]: expected a number of requests from 0"),
        ({"trace_count": "1_0", "trace_rate": "1"}, "settings[trace_count]: expected -1 for no limit"),
        ({"trace_ratio": "0.1_0"}, "settings[trace_ratio]: expected a number from 0 to 1"),
        ({"trace_ratio": "０.５"}, "settings[trace_ratio]: expected a number from 0 to 1"),
        ({"trace_ratio": " 0.5"}, "settings[trace_ratio]: expected a number from 0 to 1"),
        ({"trace_ratio": "inf"}, "settings[trace_ratio]: expected a number from 0 to 1"),
        ({"trace_count": "-2"}, "settings[trace_count]: expected -1 for no limit"),
        ({"trace_rate": "1", "trace_ratio": "1"}, "settings: expected trace_rate or trace_ratio"),
        ({"trace_colour": "red"}, "settings: unknown setting 'trace_colour'; known are trace_level, trace_rate"),
        ({"x" * 1_000_000: "1"}, f"unknown setting {'x' * 64!r};"),
    ],
)
def test_setting_that_makes_no_sense_is_refused_and_nothing_changes(given: dict[str, Any], text: str) -> None:
    changed = settings()
    before = changed.policy()
    with pytest.raises(InvalidInput) as raised:
        update_trace_settings(changed, request(**({"trace_count": "7"} | given)))
    assert text in str(raised.value)
    assert "/etc/passwd" not in str(raised.value)
    assert len(str(raised.value)) < 1000
    assert changed.policy() == before


def test_change_without_a_collector_is_refused_by_its_reason() -> None:
    with pytest.raises(IllegalMove, match="ZOO_OTLP_ENDPOINT"):
        update_trace_settings(None, request(trace_level="TIMESTAMPS"))
    update_trace_settings(None, request())  # only reads


class Sink:
    def offer(self, finished: object) -> None:
        """Takes nothing."""


@pytest.mark.asyncio
async def test_settings_of_a_model_change_while_the_server_runs() -> None:
    async with served(tracing=Tracing(settings(), Sink())) as (_, stub):
        mine = plain(await stub.TraceSetting(request("adder", trace_rate="2")))
        assert mine["trace_rate"] == ["2"]
        assert plain(await stub.TraceSetting(request()))["trace_rate"] == ["100"]
        assert plain(await stub.TraceSetting(request("adder")))["trace_rate"] == ["2"]
        with pytest.raises(Exception, match="NOT_FOUND"):
            await stub.TraceSetting(request("nobody", trace_rate="2"))


@pytest.mark.asyncio
async def test_server_without_a_collector_answers_reads_and_refuses_changes() -> None:
    async with served() as (_, stub):
        assert plain(await stub.TraceSetting(request()))["trace_level"] == ["OFF"]
        with pytest.raises(Exception, match="FAILED_PRECONDITION"):
            await stub.TraceSetting(request(trace_level="TIMESTAMPS"))
