"""The progress of a job: a view that is redrawn on a terminal, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.cli.exit_codes import INTERRUPTED
from service.cli.options import DEFAULT_SERVER
from service.cli.rendering.console import (
    escaped,
    print_json,
    print_line,
    print_note,
    stdout_console,
)
from service.cli.rendering.formatting import format_duration, format_value, jsonable
from service.client import Checkpoint, Job, JobEvent, JobProgress, LogLine, MetricValue, StateChanged

if TYPE_CHECKING:
    from rich.console import RenderableType

    from service.client import Client

_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH, _BAR_WIDTH, _LAST_LINES = 32, 40, 4
_TENTHS = 10


def follow_job(client: Client, job: Job, *, server: str, as_json: bool, after: int = 0) -> Job:
    """Shows the events of a job until it has ended, and gives the job.

    Ctrl-C leaves the job running, prints how to watch it again, and ends the command.
    """
    try:
        _show(client.watch_job(job.id, after=after), job, as_json=as_json)
    except KeyboardInterrupt:
        where = "" if server == DEFAULT_SERVER else f" --server {server}"
        print_note(f"detached; job {job.id} continues")
        print_note(f"  zoo jobs watch {job.id}{where}    to watch it again")
        print_note(f"  zoo jobs cancel {job.id}{where}   to cancel it")
        raise typer.Exit(INTERRUPTED) from None
    return client.job(job.id)


def _show(events: Iterator[JobEvent], job: Job, *, as_json: bool) -> None:
    console = stdout_console()
    if as_json:
        for event in events:
            print_json({"event": event_json(event)})
    elif console.is_terminal:
        view = JobView(job, unicode=console.encoding.lower().startswith("utf"))
        with Live(view.render(), console=console, refresh_per_second=8, transient=False) as live:
            for event in events:
                view.update(event)
                live.update(view.render())
    else:
        lines = PlainLines()
        for event in events:
            for line in lines.of(event):
                print_line(line)
        for line in lines.rest():
            print_line(line)


def event_json(event: JobEvent) -> dict[str, Any]:
    """An event as an object; `kind` gives its type."""
    kind = {
        StateChanged: "state",
        JobProgress: "progress",
        MetricValue: "metric",
        LogLine: "log",
        Checkpoint: "checkpoint",
    }.get(type(event.what), "unknown")
    what = {} if event.what is None else jsonable(event.what)
    return {"sequence": event.sequence, "kind": kind, **what, "time": jsonable(event.time)}


class PlainLines:
    """Events as lines of text: every state, phase and measured value, and progress in tenths.

    The values of one step are one line, which is complete once another event follows.
    """

    def __init__(self) -> None:
        self._phase, self._tenth = "", -1
        self._measured: list[MetricValue] = []

    def of(self, event: JobEvent) -> list[str]:
        """The lines of an event: none, one or two."""
        if isinstance(event.what, MetricValue):
            metric = event.what
            if metric.split == "train":
                return []
            before = self._measured[-1] if self._measured else metric
            same = (metric.split, metric.step, metric.epoch) == (before.split, before.step, before.epoch)
            lines = [] if same else self.rest()
            self._measured.append(metric)
            return lines
        return self.rest() + self._event_lines(event)

    def rest(self) -> list[str]:
        """The line of measured values that is not printed yet."""
        if not self._measured:
            return []
        last = self._measured[-1]
        figures = ", ".join(f"{metric.name} {format_value(metric.value)}" for metric in self._measured)
        self._measured = []
        return [f"{last.split} {figures} ({_position(last.step, last.epoch)})"]

    def _event_lines(self, event: JobEvent) -> list[str]:
        match event.what:
            case StateChanged():
                return [_state_line(event.what)]
            case LogLine():
                return [event.what.text if event.what.level == "info" else f"{event.what.level}: {event.what.text}"]
            case JobProgress():
                return self._progress(event.what)
            case _:
                return []

    def _progress(self, progress: JobProgress) -> list[str]:
        tenth = int(progress.ratio * _TENTHS)
        if (progress.phase, tenth) == (self._phase, self._tenth):
            return []
        self._phase, self._tenth = progress.phase, tenth
        return [_progress_line(progress)]


class JobView:
    """A job on a terminal: state, progress bar, a row with a curve for each metric, the last lines of the log."""

    def __init__(self, job: Job, *, unicode: bool = True) -> None:
        """`unicode`: whether the terminal can show curves and arrows."""
        self._title = (
            f"job {job.id}: {job.base} → {job.model}" if unicode else f"job {job.id}: {job.base} to {job.model}"
        )
        self._state = StateChanged(job.state, job.state_reason)
        self._progress = job.progress
        self._curves: dict[str, list[float]] = {}
        self._log: deque[LogLine] = deque(maxlen=_LAST_LINES)
        self._yielding = job.yielding
        self._unicode = unicode

    def update(self, event: JobEvent) -> None:
        """Takes an event into the view."""
        match event.what:
            case StateChanged():
                self._state = event.what
            case JobProgress():
                self._progress = event.what
            case MetricValue():
                self._curves.setdefault(f"{event.what.split} {event.what.name}", []).append(event.what.value)
            case LogLine():
                self._log.append(event.what)
        if event.job is not None:
            self._yielding = event.job.yielding

    def render(self) -> RenderableType:
        """The current view."""
        parts: list[RenderableType] = [Text(escaped(self._title), style="bold"), self._state_row()]
        if self._curves:
            parts.append(self._metric_rows())
        for line in self._log:
            style = {"error": "red", "warning": "yellow"}.get(line.level, "dim")
            parts.append(Text(escaped(line.text), style=style))
        return Group(*parts)

    def _state_row(self) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        style = {"SUCCEEDED": "green", "FAILED": "red", "CANCELLED": "yellow"}.get(self._state.state, "cyan")
        words = _state_line(self._state)
        if self._yielding:
            words += ", yields to requests"
        if self._state.state not in ("RUNNING", "CANCELLING") or not self._progress.phase:
            return Text(escaped(words), style=style)
        bar = ProgressBar(total=1.0, completed=self._progress.ratio, width=_BAR_WIDTH)
        grid.add_row(Text(escaped(words), style=style), bar, Text(escaped(_progress_line(self._progress))))
        return grid

    def _metric_rows(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for name, values in sorted(self._curves.items()):
            curve = sparkline(values) if self._unicode and len(values) > 1 else ""
            table.add_row(escaped(name), Text(format_value(values[-1]), justify="right"), Text(curve, style="cyan"))
        return table


def sparkline(values: Sequence[float], width: int = _SPARK_WIDTH) -> str:
    """A curve as one line of text. Each character is the mean of a section; a section without finite values is a gap."""
    sections = min(width, len(values))
    means: list[float] = []
    for i in range(sections):
        part = [v for v in values[i * len(values) // sections : (i + 1) * len(values) // sections] if math.isfinite(v)]
        means.append(sum(part) / len(part) if part else math.nan)
    finite = [value for value in means if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    step = (high - low) / (len(_BLOCKS) - 1) or 1.0
    return "".join(_BLOCKS[round((v - low) / step)] if math.isfinite(v) else " " for v in means)


def _state_line(state: StateChanged) -> str:
    return f"{state.state}: {state.reason}" if state.reason else state.state


def _progress_line(progress: JobProgress) -> str:
    words = [f"{progress.phase} {progress.ratio:.0%}"]
    if progress.steps:
        words.append(_position(progress.step, progress.epoch) + f" of {progress.steps}")
    if progress.remaining_s is not None:
        words.append(f"about {format_duration(progress.remaining_s)} left")
    return ", ".join(words)


def _position(step: int, epoch: int) -> str:
    return f"epoch {epoch}, step {step}" if epoch else f"step {step}"
