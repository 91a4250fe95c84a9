"""Tables of batch times, and the profiles of networks."""

import math

import pytest

from benchmarks.simulation import measured, published
from benchmarks.simulation.profiles import Network
from benchmarks.simulation.table import Table
from service.scheduler.cost import Law

TABLES = [value for module in (published, measured) for value in vars(module).values() if isinstance(value, Table)]


def test_table_interpolates_linearly_between_its_points() -> None:
    table = Table("128 1 1.0 1.1\n128 4 4.0 4.1\n256 1 2.0 2.1\n256 4 8.0 8.1")
    assert table.seconds(4, 256) == pytest.approx(0.008)
    assert table.seconds(2, 128) == pytest.approx(0.002)
    assert table.seconds(4, 192) == pytest.approx(0.006)
    assert table.seconds(1, 3) == pytest.approx(0.001)  # below the table, so the least known time
    with pytest.raises(ValueError, match="nothing is known of 5 rows of 256"):
        table.seconds(5, 256)


@pytest.mark.parametrize("table", TABLES)
def test_profile_times_rise_with_batch_size(table: Table) -> None:
    assert table.is_rising  # required by the bound: padding never makes a batch cheaper
    assert 0.0 <= table.sigma < 0.2


def test_best_cost_of_a_row_is_that_of_the_largest_batch_within_its_deadline() -> None:
    network = Network("m", Law(0.010, 0.005, 0.0), 8, 0.0)
    assert network.best_s(1) == pytest.approx(0.050 / 8)
    assert network.best_s(1, 0.021) == pytest.approx(0.020 / 2)
    assert network.best_s(1, 0.014) == math.inf
