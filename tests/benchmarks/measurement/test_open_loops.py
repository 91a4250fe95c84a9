"""The bound of overload, from the figures of a run."""

import pytest

from benchmarks.measurement.open_loops import bound_of

FULL = {"server_cores": 1.8, "client_cores": 0.1, "calls_s": 200.0}


def test_bound_uses_the_cost_of_refused_calls_with_the_client() -> None:
    flood = {"server_cores": 0.3, "client_cores": 0.08, "offered_s": 400.0, "good_s": 0.0, "good_share": 0.0}

    found = bound_of(FULL, flood)

    assert found["answered_ms"] == pytest.approx(9.5)
    assert found["refused_ms"] == pytest.approx(0.95)
    assert found["bound"] == pytest.approx((1.0 - 0.2) / (1.0 - 0.1))


def test_server_that_answers_hopeless_calls_has_no_bound() -> None:
    flood = {"server_cores": 1.9, "client_cores": 0.1, "offered_s": 400.0, "good_s": 380.0, "good_share": 0.95}
    assert "bound" not in bound_of(FULL, flood)
