"""The simulated Server rate, with the costs of a run."""

from dataclasses import replace

import pytest

from benchmarks.simulation.server_rate import MeasuredBatches, ServerRun, simulated_rate, stops_early

RUN = ServerRun(
    batch_s={1: 0.010, 2: 0.015, 4: 0.028, 8: 0.050},
    sigma=0.03,
    lanes=2,
    max_batch_size=8,
    offline_s=280.0,
    offline_rows=7.5,
    single_s=0.013,
    bound_s=0.065,
    queries=500,
    seconds=2.0,
    probes=5,
    lowest=0.1,
)


def test_batches_between_measured_sizes_are_interpolated() -> None:
    law = MeasuredBatches(RUN.batch_s, beside_s=0.001)

    assert law.seconds(1, 1) == pytest.approx(0.011)
    assert law.seconds(3, 1) == pytest.approx(0.0215 + 0.003)
    assert law.seconds(8, 1) == pytest.approx(0.058)
    assert law.seconds(16, 1) == pytest.approx(0.116)


@pytest.mark.parametrize(
    ("queries", "late", "proven"), [(458, 0, False), (459, 0, True), (661, 1, False), (662, 1, True)]
)
def test_early_stopping_needs_the_queries_of_the_rules(queries: int, late: int, proven: bool) -> None:
    assert stops_early(queries, late) is proven


def test_costs_are_fitted_to_offline_rate_and_single_caller() -> None:
    found = simulated_rate(RUN, 1)

    # Two lanes with 7.5 rows a batch: 2 ÷ 280 s a row, less the network's own.
    assert found["beside_ms"] == pytest.approx(1000.0 * (2 / 280.0 - 0.04725 / 7.5))
    assert found["waits_ms"] == pytest.approx(13.0 - 10.0 - found["beside_ms"])
    assert RUN.lowest * RUN.offline_s <= found["server_s"] <= RUN.offline_s


def test_longer_bound_gives_a_higher_rate() -> None:
    tight = simulated_rate(RUN, 1)["server_s"]
    loose = simulated_rate(replace(RUN, bound_s=0.5), 1)["server_s"]
    assert tight < loose


def test_simulated_rate_depends_on_the_seed_only() -> None:
    assert simulated_rate(RUN, 3) == simulated_rate(RUN, 3)
