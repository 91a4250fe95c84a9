"""The outcome of a job: its metrics beside the baseline's, the promotion, and the command that calls the result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from model_zoo import strict_json
from service.cli.exit_codes import FAILED
from service.cli.inputs.training_table import first_row, is_table, sample_row
from service.cli.options import DEFAULT_SERVER, EXAMPLES
from service.cli.rendering.console import (
    escaped,
    new_table,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
)
from service.cli.rendering.formatting import format_duration, jsonable
from service.cli.rendering.runtime_notes import runtime_lines
from service.client import NotFound, ZooClientError
from service.rounding import format_apart

if TYPE_CHECKING:
    from rich.table import Table

    from service.client import Client, Job, ModelInfo, VersionReport

SHOWN_COLUMNS = 5
"""The most important ones."""


def print_outcome(client: Client, job: Job, *, server: str, as_json: bool, data: str = "") -> None:
    """Prints the outcome of a job that has ended. Exit code 1 unless it succeeded.

    `data`: a file or folder of this machine that it has learned from, for a call to copy.
    """
    if as_json:
        found = _report(client, job)
        print_json({"result": jsonable(job), "report": None if found is None else jsonable(found.report)})
    elif job.state == "SUCCEEDED":
        _print_success(client, job, server, data)
    else:
        print_error(f"job {job.id} is {job.state}" + (f": {job.state_reason}" if job.state_reason else ""))
    if job.state != "SUCCEEDED":
        raise typer.Exit(FAILED)


def metrics_table(report: Mapping[str, Any]) -> Table:
    """The metrics of a report with their intervals, beside those of the baseline and of the version that was stable."""
    baseline = report.get("baseline") or {}
    incumbent = report.get("rival") or {}  # the report's name for the version that was stable
    kind = str(baseline.get("kind") or "baseline").replace("_", " ")
    columns = ["held-out data", "result", "interval", f"baseline ({kind})"]
    if incumbent:
        columns.append(f"version {incumbent['version']}" if incumbent.get("version") else "stable before")
    rows = new_table(*map(escaped, columns), right=("result",))
    primary = report.get("primary")
    metrics = report.get("metrics") or {}
    for name in sorted(metrics, key=lambda name: (name != primary, name)):  # a Struct keeps no order
        found = [_value(value) for value in (metrics[name], _metric(baseline, name), _metric(incumbent, name))]
        texts = iter(format_apart(*(value for value in found if value is not None)))
        ours, base, before = ("" if value is None else next(texts) for value in found)
        cells = [escaped(f"{name} *" if name == primary else name), ours, _interval(metrics[name]), base]
        rows.add_row(*cells, *([before] if incumbent else []))
    return rows


def column_lines(report: Mapping[str, Any]) -> list[str]:
    """The columns of a table that a version relies on, in a line; empty if it reads no table."""
    found = report.get("column_importance") or {}
    columns = [column for column in found.get("columns") or () if column["importance"] is not None]
    if not columns:
        return []
    shown = [f"{column['column']} {_loss(column['importance'])}" for column in columns[:SHOWN_COLUMNS]]
    more = f" and {len(columns) - len(shown)} more" if len(columns) > len(shown) else ""
    change = "falls" if found.get("higher_is_better") else "rises"
    return [
        f"it relies on {', '.join(shown)}{more}: by so much {found['metric']} {change} when the column is shuffled; "
        "of two columns that say the same, each looks unimportant"
    ]


def _loss(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def predict_command(model: ModelInfo, *, version: int = 0, server: str = DEFAULT_SERVER, data: str = "") -> str:
    """The command that calls a model, or one of its versions. `data`: what the model has learned from, on this machine."""
    where = "" if server == DEFAULT_SERVER else f"--server {server} "
    which = f"--version {version} " if version else ""
    pairs = any(column.kind == "text_pair" for column in model.columns)
    second = ' --text-pair "another sentence"' if pairs else ""
    return f"zoo predict {where}{which}{model.name} {_argument(model, data)}{second}"


def _argument(model: ModelInfo, data: str) -> str:
    """An input for the shell. Of a table it is a row of the data, and of series the data, so that the command runs as it is."""
    columns = [column for column in model.columns if column.kind in ("number", "category")]
    if model.raw_input == "row" and columns:
        return shlex.quote(strict_json.text(first_row(data, columns) or sample_row(columns), ascii_only=False))
    if model.raw_input == "series" and is_table(data):
        return shlex.quote(data)
    return EXAMPLES.get(model.raw_input, "INPUT")


def _print_success(client: Client, job: Job, server: str, data: str) -> None:
    found = _report(client, job)
    if found is not None and found.report.get("metrics"):
        print_table(metrics_table(found.report))
        for line in column_lines(found.report):
            print_line(line)
    took = f" after {format_duration((job.ended - job.started).total_seconds())}" if job.ended and job.started else ""
    print_line(f"{job.model} version {job.version} is published{took}", "green")
    if job.promotion_outcome:
        print_line(job.promotion_outcome)
    for line in _runs(client, job):
        print_line(line)
    where = "" if server == DEFAULT_SERVER else f" --server {server}"
    if found is not None:
        print_line("to look at its report:")
        print_line(f"  zoo report {job.model} --version {job.version} --html report.html{where}")
    try:
        model = client.model(job.model)
    except ZooClientError as error:  # the result exists all the same
        print_note(error.message)
        return
    is_stable = model.aliases.get("stable") == job.version
    if not is_stable:
        print_line("to make it the stable one:")
        print_line(f"  zoo promote {job.model} {job.version}{where}")
    print_line("to call it:")
    version = 0 if is_stable else job.version
    print_line(f"  {predict_command(model, version=version, server=server, data=data)}")


def _runs(client: Client, job: Job) -> list[str]:
    """Lines on the runtime that serves the result."""
    try:
        found = client.versions(job.model).versions
    except ZooClientError:  # the result exists all the same
        return []
    return next((runtime_lines(version) for version in found if version.number == job.version), [])


def _report(client: Client, job: Job) -> VersionReport | None:
    if not job.version:
        return None
    try:
        return client.report(job.model, job.version)
    except NotFound:  # deleted in the meantime
        return None


def _metric(metrics: Mapping[str, Any], name: str) -> Any:
    """A metric of a baseline or of an earlier version; a report may nest them as `metrics`."""
    inner = metrics.get("metrics")
    return inner.get(name) if isinstance(inner, Mapping) else metrics.get(name)


def _value(value: Any) -> float | None:
    if isinstance(value, Mapping):
        value = value.get("value")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _interval(value: Any) -> str:
    if not isinstance(value, Mapping) or value.get("low") is None or value.get("high") is None:
        return ""
    low, _, high = format_apart(value["low"], value.get("value", value["low"]), value["high"])
    return f"{low} to {high}"
