"""The bound of overload follows from what an answer and a refusal cost."""

import pytest

from benchmarks.measurement.overload_bound import cost_of_refusal, most_answered


def test_free_refusals_leave_the_whole_capacity() -> None:
    assert most_answered(0.0, 0.010, 2.0) == 1.0


def test_bound_spends_exactly_the_cores_of_the_capacity() -> None:
    answered_s, refused_s, cores = 0.008, 0.001, 1.9
    capacity = cores / answered_s

    answers = most_answered(refused_s, answered_s, 2.0) * capacity

    spent = answers * answered_s + (2.0 * capacity - answers) * refused_s
    assert spent == pytest.approx(cores)
    assert answers / capacity == pytest.approx(0.857, abs=0.001)


def test_refusals_that_take_all_cores_leave_nothing() -> None:
    assert most_answered(0.006, 0.010, 2.0) == 0.0
    assert most_answered(0.020, 0.010, 2.0) == 0.0


def test_cost_of_refusal_leaves_out_calls_that_were_answered() -> None:
    assert cost_of_refusal(0.5, 500.0, 0.010) == pytest.approx(0.001)
    assert cost_of_refusal(0.9, 500.0, 0.010, 50.0) == pytest.approx(0.4 / 450.0)
    assert cost_of_refusal(0.5, 50.0, 0.010, 50.0) == 0.0
