"""The tables of a report."""

from typing import Any

from benchmarks.reports import tables
from tests.support.benchmark_results import benchmark_results, row_of


def test_closed_loop_table_has_ratios_beside_the_rate() -> None:
    results: dict[str, Any] = benchmark_results()

    row = row_of(tables.closed(results["cases"]["cnn tensors"]), "Zoo, as shipped", "32")

    # calls/s; ÷ eager limit; ÷ compiled limit; ÷ Triton; p50; p99; p99 ÷ Triton's
    assert row[2:9] == ["150.0", "1.50", "0.75", "3.00", "150", "300", "0.50"]
    assert row[-1] == "150 %"  # the spread of the rounds
