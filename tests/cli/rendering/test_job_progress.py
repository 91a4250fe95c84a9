"""The progress of a job: the view of a terminal, and plain lines."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from typer.testing import Result

from service.cli.rendering.job_progress import JobView, PlainLines, sparkline
from service.client import Job, JobEvent, JobProgress, LogLine, MetricValue, StateChanged
from tests.support.fake_zoo.fine_tuning import BASE

Run = Callable[..., Result]


def _job() -> Job:
    blank: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__, "")
    return Job(**blank | {"id": "1a", "base": BASE, "model": "pets", "state": "QUEUED", "progress": JobProgress()})


def _rendered(view: JobView) -> str:
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as text:
        console.print(view.render())
    return text.get()


def test_job_view_renders_state_progress_curves_and_log() -> None:
    view = JobView(_job())
    assert "QUEUED" in _rendered(view)
    whats: list[Any] = [StateChanged("RUNNING", ""), JobProgress("training", 0.5, 10, 20, 1, 30.0)]
    whats += [MetricValue("loss", "train", 2.0 - i / 8, i, 1) for i in range(16)]
    whats += [LogLine("info", f"line {i}\x1b[2J") for i in range(9)]
    for i, what in enumerate(whats, 1):
        view.update(JobEvent(i, None, what))
    shown = _rendered(view)
    assert "RUNNING" in shown
    assert "training 50%, epoch 1, step 10 of 20, about 30 s left" in shown
    assert f"train loss  0.125  {sparkline([2.0 - i / 8 for i in range(16)])}" in shown
    assert "line 8\\x1b[2J" in shown
    assert "line 3" not in shown, "only the last lines"


def test_job_view_without_unicode_is_ascii() -> None:
    view = JobView(_job(), unicode=False)
    for i in range(4):
        view.update(JobEvent(i, None, MetricValue("loss", "train", float(i), i, 1)))
    assert _rendered(view).isascii()


def test_sparkline_maps_values_to_block_heights() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5.0, 5.0]) == "▁▁"
    assert len(sparkline([float(i) for i in range(1000)])) == 32
    assert sparkline([1.0, float("nan"), 3.0]) == "▁ █"
    assert sparkline([float("nan")]) == ""


def test_plain_lines_print_progress_in_tenths() -> None:
    lines = PlainLines()
    told = [line for i in range(101) for line in lines.of(JobEvent(i, None, JobProgress("training", i / 100)))]
    assert len(told) == 11
    assert told[0] == "training 0%"


def test_plain_lines_join_the_metrics_of_a_step() -> None:
    lines = PlainLines()
    told = lines.of(JobEvent(1, None, MetricValue("loss", "validation", 0.5, 8, 1)))
    told += lines.of(JobEvent(2, None, MetricValue("loss", "train", 0.4, 8, 1)))
    told += lines.of(JobEvent(3, None, MetricValue("accuracy", "validation", 0.9, 8, 1)))
    told += lines.of(JobEvent(4, None, MetricValue("loss", "validation", 0.25, 16, 2)))
    assert told == ["validation loss 0.5, accuracy 0.9 (epoch 1, step 8)"]
    assert lines.rest() == ["validation loss 0.25 (epoch 2, step 16)"]
    assert lines.rest() == []
