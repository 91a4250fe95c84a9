"""The log of slow and failed calls: what a line has, and how many there are."""

import pytest
from structlog.testing import capture_logs

from service.observability.recorder import Call
from service.observability.request_log import BURST, RequestLog
from service.types import Timing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
METADATA = (("user-agent", "t"), ("traceparent", f"00-{TRACE}-00f067aa0ba902b7-00"))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_line_of_a_failed_request_has_its_ids_and_where_the_time_went() -> None:
    call = Call("m", "3", "r-1", rows=2, timing=Timing(0.01, 0.02, 0.03, 0.04, batch_rows=8))
    with capture_logs() as lines:
        RequestLog().call_finished(call, "ModelInfer", "INTERNAL", 0.1234567, METADATA)
    assert lines == [
        {
            "event": "a request failed",
            "log_level": "warning",
            "method": "ModelInfer",
            "code": "INTERNAL",
            "model": "m",
            "version": "3",
            "request_id": "r-1",
            "trace_id": TRACE,
            "rows": 2,
            "seconds": 0.123457,
            "preprocess_s": 0.01,
            "queue_s": 0.02,
            "execute_s": 0.03,
            "postprocess_s": 0.04,
            "batch_rows": 8,
        }
    ]


def test_line_leaves_out_what_is_not_known() -> None:
    with capture_logs() as lines:
        RequestLog().call_finished(Call(), "GetJob", "NOT_FOUND", 0.001)
    assert lines == [
        {"event": "a request failed", "log_level": "info", "method": "GetJob", "code": "NOT_FOUND", "seconds": 0.001}
    ]


@pytest.mark.parametrize(
    ("code", "level"),
    [
        ("INTERNAL", "warning"),
        ("UNAVAILABLE", "warning"),
        ("RESOURCE_EXHAUSTED", "warning"),
        ("DEADLINE_EXCEEDED", "warning"),
        ("UNKNOWN", "warning"),
        ("INVALID_ARGUMENT", "info"),
        ("UNAUTHENTICATED", "info"),
        ("CANCELLED", "info"),
    ],
)
def test_fault_of_a_caller_is_no_warning(code: str, level: str) -> None:
    with capture_logs() as lines:
        RequestLog().call_finished(Call(), "Predict", code, 0.1)
    assert [line["log_level"] for line in lines] == [level]


def test_call_beyond_the_limits_of_its_own_token_is_no_warning_and_leaves_room_for_faults() -> None:
    log = RequestLog(clock=Clock())
    with capture_logs() as lines:
        for _ in range(200):
            log.call_finished(
                Call("m", principal="ada", reason="RATE_LIMITED"), "ModelInfer", "RESOURCE_EXHAUSTED", 0.0
            )
        log.call_finished(Call("m", reason="QUEUE_FULL"), "ModelInfer", "RESOURCE_EXHAUSTED", 0.0)
    assert {line["log_level"] for line in lines[:-1]} == {"info"}
    assert (lines[0]["principal"], lines[0]["reason"]) == ("ada", "RATE_LIMITED")
    assert (lines[-1]["log_level"], lines[-1]["reason"]) == ("warning", "QUEUE_FULL")


def test_slow_request_is_logged_and_a_long_stream_is_not() -> None:
    log = RequestLog(slow_s=0.5)
    with capture_logs() as lines:
        log.call_finished(Call("m", "1", timing=Timing(execute_s=0.6)), "Predict", "OK", 0.7)
        log.call_finished(Call(), "WatchJob.stream", "OK", 3600.0)
        log.call_finished(Call(), "WatchJob.stream", "CANCELLED", 3600.0)
    assert [(line["event"], line["execute_s"]) for line in lines] == [("a request was slow", 0.6)]


def test_request_id_of_an_attacker_cannot_forge_a_line() -> None:
    forged = 'x\n{"event":"forged"}' + "y" * 1_000_000
    with capture_logs() as lines:
        RequestLog().call_finished(Call("m", "1", forged), "Predict", "INTERNAL", 0.1)
    assert lines[0]["request_id"].startswith(r'x\n{"event":"forged"}y')
    assert len(lines[0]["request_id"]) == 128


def test_flood_of_failures_writes_a_burst_and_then_counts_what_it_leaves_out() -> None:
    clock = Clock()
    log = RequestLog(clock=clock)
    with capture_logs() as lines:
        for _ in range(10_000):
            log.call_finished(Call(), "Predict", "UNAVAILABLE", 0.1)
        assert len(lines) == BURST
        clock.now += 1.0
        log.call_finished(Call(), "Predict", "UNAVAILABLE", 0.1)
        assert len(lines) == BURST + 1
        assert lines[-1]["left_out"] == 10_000 - BURST
        clock.now += 1.0
        log.call_finished(Call(), "Predict", "UNAVAILABLE", 0.1)
        assert "left_out" not in lines[-1]


def test_flood_of_wrong_requests_leaves_room_for_faults_and_slow_requests() -> None:
    log = RequestLog(slow_s=0.1, clock=Clock())
    with capture_logs() as lines:
        for _ in range(1000):
            log.call_finished(Call(), "Predict", "INVALID_ARGUMENT", 0.1)
        log.call_finished(Call(), "Predict", "INTERNAL", 0.1)
        log.call_finished(Call(timing=Timing()), "Predict", "OK", 0.2)
    assert [line.get("code") for line in lines[-2:]] == ["INTERNAL", "OK"]
