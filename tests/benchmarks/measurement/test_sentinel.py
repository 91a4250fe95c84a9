"""A measurement during which the machine changed is discarded, made again, and counted."""

from typing import Any

from benchmarks.measurement.sentinel import Sentinel, drift, unguarded


def sentinel(*rates: float) -> Sentinel:
    """A sentinel whose readings of one and of all threads are the rates in turn."""
    readings = iter(rates)
    return Sentinel(lambda: dict.fromkeys(("one", "all"), next(readings)))


def counting() -> Any:
    calls = iter(range(1, 100))
    return lambda: {"calls_s": float(next(calls))}


def test_steady_measurement_is_kept_at_once() -> None:
    guard = sentinel(100.0, 104.0)

    figures = guard.guard(counting())

    assert figures["calls_s"] == 1.0
    assert figures["drift"] == drift({"one": 100.0}, {"one": 104.0})
    assert "tries" not in figures
    assert (guard.measured, guard.discarded, guard.unsteady) == (1, 0, 0)


def test_drifted_measurement_is_discarded_and_made_again() -> None:
    guard = sentinel(100.0, 80.0, 80.0, 81.0)

    figures = guard.guard(counting())

    assert figures["calls_s"] == 2.0
    assert figures["tries"] == 2
    assert (guard.measured, guard.discarded, guard.unsteady) == (1, 1, 0)
    assert guard.readings == [{"one": 80.0, "all": 80.0}, {"one": 81.0, "all": 81.0}]


def test_measurement_that_drifts_at_every_try_is_kept_as_unsteady() -> None:
    guard = sentinel(100.0, 80.0, 100.0, 80.0, 100.0, 120.0)

    figures = guard.guard(counting())

    assert figures["calls_s"] == 3.0
    assert figures["tries"] == 3
    assert (guard.measured, guard.discarded, guard.unsteady) == (1, 2, 1)


def test_drift_is_that_of_the_worse_number_of_threads() -> None:
    assert drift({"one": 100.0, "all": 50.0}, {"one": 101.0, "all": 45.0}) == 1.0 - 45.0 / 50.0


def test_record_has_the_range_of_the_kept_readings() -> None:
    guard = sentinel(100.0, 80.0, 100.0, 104.0, 90.0, 93.0)
    guard.guard(counting())
    guard.guard(counting())

    record = guard.record()

    assert record["discarded"] == 1
    assert record["slowest_to_fastest"]["one"] == 90.0 / 104.0
    assert unguarded().record()["slowest_to_fastest"] == {}
