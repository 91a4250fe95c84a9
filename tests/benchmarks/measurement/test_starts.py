"""The time to the fast tier, from the server's log."""

from benchmarks.measurement.starts import seconds_to_fast_tier


def event(name: str, second: float) -> dict[str, str]:
    return {"event": name, "timestamp": f"2026-01-02T03:04:{second:09.6f}Z"}


def test_seconds_count_from_ready_to_the_first_faster_network() -> None:
    log = [
        event("live", 1),
        event("ready", 2),
        event("a faster network serves", 7.5),
        event("a faster network serves", 40),
    ]
    assert seconds_to_fast_tier(log) == 5.5


def test_network_that_is_faster_before_ready_takes_no_time() -> None:
    assert seconds_to_fast_tier([event("a faster network serves", 1), event("ready", 2)]) == 0.0


def test_server_without_a_faster_network_has_no_time() -> None:
    assert seconds_to_fast_tier([event("ready", 2)]) is None
