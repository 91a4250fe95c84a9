"""Charts of the report."""

from service.training.artifacts.charts import (
    Axis,
    curve_charts,
    line_chart,
    thinned,
)
from service.training.protocol import Metric

HOSTILE = '<script>alert("x")</script>'


def test_axis_contains_all_values_and_few_round_ticks() -> None:
    for values in ([0.0, 1.0], [3.0, 3.0], [1e-6, 1.0], [-5.0, 12_000.0], [0.1234, 0.1235]):
        axis = Axis.over(values, 0, 100)
        assert all(-1e-6 <= axis.at(value) <= 100 + 1e-6 for value in values)
        assert 1 <= len(axis.ticks()) <= 12
        assert all(-1e-6 <= axis.at(tick) <= 100 + 1e-6 for tick in axis.ticks())


def test_chart_drops_points_that_are_not_finite_and_thins_long_curves() -> None:
    curves = [Metric(name="loss", split="train", value=float("nan") if i == 3 else i, step=i) for i in range(5000)]
    [(name, chart)] = curve_charts(curves)
    assert name == "loss"
    assert "nan" not in chart
    assert len(chart) < 15_000
    assert thinned([(float(i), 0.0) for i in range(5000)])[-1] == (4999.0, 0.0)


def test_names_of_curves_are_escaped() -> None:
    assert "<script" not in line_chart(HOSTILE, {HOSTILE: [(0, 1), (1, 2)]}, HOSTILE)
