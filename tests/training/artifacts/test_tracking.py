"""A job's metrics reach TensorBoard and MLflow, and neither can fail a job."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from service.training.artifacts.tracking import Tracker
from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.protocol import Metric


def order(mlflow_uri: str = "") -> WorkOrder:
    spec = JobSpec(base="b", dataset_id="d", model="m", task="t", method=Method.HEAD, hyperparameters={"head": "mlp"})
    return WorkOrder(job_id="j1", spec=spec, home=Path("/nowhere"), mlflow_uri=mlflow_uri)


def loss(step: int, value: float = 0.5) -> Metric:
    return Metric(name="loss", split="train", value=value, step=step)


def test_tensorboard_reads_written_metrics(tmp_path: Path) -> None:
    tracker = Tracker(order(), tmp_path)
    for step in range(3):
        tracker.metric(loss(step, 1.0 / (step + 1)))
    tracker.metric(loss(3, float("nan")))
    tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss/train")] == [
        (0, 1.0),
        (1, 0.5),
        (2, pytest.approx(1 / 3)),
    ]


def test_closed_tracker_drops_metrics(tmp_path: Path) -> None:
    tracker = Tracker(order(), tmp_path)
    tracker.close()
    tracker.metric(loss(0))
    tracker.close()


def test_unwritable_folder_does_not_fail_job(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("in the way")
    tracker = Tracker(order(), tmp_path)
    tracker.metric(loss(0))
    tracker.close()


class FakeServer:
    """The part of MLflow's client that the tracker calls. The call `broken` fails."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.calls: list[str] = []

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        entities, tracking, root = (types.ModuleType(n) for n in ("mlflow.entities", "mlflow.tracking", "mlflow"))
        entities.Param = entities.RunTag = lambda key, value: (key, value)  # type: ignore[attr-defined]
        tracking.MlflowClient = lambda tracking_uri: self  # type: ignore[attr-defined]
        for module in (root, entities, tracking):
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: object, **more: object) -> Any:
            self.calls.append(name)
            if name == self.broken:
                raise ConnectionError("the server is gone")
            self.last = arguments
            if name == "get_experiment_by_name":
                return None
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

        return call


def test_mlflow_gets_parameters_and_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer()
    server.install(monkeypatch)
    tracker = Tracker(order("http://tracking"), tmp_path)
    tracker.metric(loss(0))
    assert server.last == ("r1", "train/loss", 0.5)
    tracker.close()
    expected = [
        "get_experiment_by_name",
        "create_experiment",
        "create_run",
        "log_batch",
        "log_metric",
        "set_terminated",
    ]
    assert server.calls == expected


@pytest.mark.parametrize("broken", ["get_experiment_by_name", "create_run", "log_metric", "set_terminated"])
def test_failing_mlflow_server_is_called_once(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeServer(broken)
    server.install(monkeypatch)
    tracker = Tracker(order("http://tracking"), tmp_path)
    for step in range(3):
        tracker.metric(loss(step))
    tracker.close()
    assert server.calls.count(broken) == 1
    assert len(EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss/train")) == 3


def test_missing_mlflow_package_does_not_fail_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.entities", None)
    tracker = Tracker(order("http://tracking"), tmp_path)
    tracker.metric(loss(0))
    tracker.close()
