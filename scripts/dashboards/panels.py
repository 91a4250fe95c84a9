"""What all dashboards share: variables, panels, and their defaults.

Every query selects the targets by `SELECTED`, and rates take `RATE`, which Grafana derives from the scrape interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model

TARGETS = 'job=~"$job", instance=~"$instance"'
"""Labels of the servers that are chosen at the top."""
INFERENCE = 'method=~"ModelInfer|ModelStreamInfer|Predict|StreamPredict"'
"""Methods that count for the objectives, as in deploy/prometheus/rules."""
RATE = "[$__rate_interval]"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
"""Columns of Grafana's grid."""


@dataclass(frozen=True)
class Query:
    """An expression, and the name of its series: text with `{{label}}`."""

    expr: str
    legend: str = ""
    exemplars: bool = False
    """Whether Grafana shows the exemplars of the histogram in it."""


@dataclass(frozen=True)
class Level:
    """From `value` on a number has this colour."""

    value: float
    color: str


def graph(
    title: str,
    description: str,
    unit: str,
    *queries: Query,
    span: int = 8,
    stacked: bool = False,
    least: float | None = 0,
    most: float | None = None,
) -> timeseries.Panel:
    """Series over time. `span`: of WIDTH columns."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(8)
        .span(span)
        .line_width(1)
        .fill_opacity(30 if stacked else 5)
        .show_points(common_model.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(query, letter).range())
    return panel


def number(
    title: str,
    description: str,
    unit: str,
    query: Query,
    levels: Sequence[Level] = (),
    span: int = 4,
    decimals: int | None = None,
) -> stat.Panel:
    """The present value, large. Green below the first level."""
    steps = [model.Threshold(value=None, color="green"), *(model.Threshold(at.value, at.color) for at in levels)]
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .height(4)
        .span(span)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(common_model.BigValueColorMode.VALUE)
        .graph_mode(common_model.BigValueGraphMode.AREA)
        .thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        .with_target(_target(query, "A").range())
    )
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .expr(query.expr)
        .legend_format(query.legend)
        .exemplar(query.exemplars)
        .datasource(SOURCE)
        .ref_id(letter)
    )


def page(uid: str, title: str, description: str) -> dashboard.Dashboard:
    """An empty dashboard with the variables `datasource`, `job` and `instance`."""
    links = dashboard.DashboardLink("Zoo").type(model.DashboardLinkType.DASHBOARDS).tags(["zoo"])
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["zoo"])
        .readonly()
        .timezone("browser")
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(links.as_dropdown(True).include_vars(True).keep_time(True))
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(variable("job", "Service", "label_values(zoo_ready, job)"))
        .with_variable(variable("instance", "Server", 'label_values(zoo_ready{job=~"$job"}, instance)'))
    )


def variable(name: str, label: str, query: str, *, every: bool = True) -> dashboard.QueryVariable:
    """A choice of values of a label. `every`: several and all can be chosen, and all are at first."""
    chosen = dashboard.QueryVariable(name).label(label).query(query).datasource(SOURCE)
    chosen.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(model.VariableSort.ALPHABETICAL_ASC)
    if every:
        chosen.multi(True).include_all(True).all_value(".*")
        chosen.current(model.VariableOption(selected=True, text="All", value="$__all"))
    return chosen
