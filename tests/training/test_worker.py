"""The worker process alone: its messages, its commands, and how it resumes after it was killed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_wine

from service.training.job_spec import JobSpec, Method, WorkOrder
from service.training.protocol import WAIT, Assignment, CheckpointWritten, Finished, Log, Metric, decode_message
from service.training.stop_signal import StopSignal
from service.training.worker import MessageWriter
from tests.support.preloaded_process import PIPE, PreloadedProcess
from tests.support.training.data_sets import add_dataset

HPARAMS = {"epochs": 8, "checkpoint_steps": 6, "patience": 0, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def wine(home: Path) -> str:
    data = load_wine(as_frame=True)
    frame = data.frame.assign(target=[f"cultivar {i}" for i in data.frame["target"]])
    return add_dataset(home, frame.to_csv(index=False).encode(), "wine.csv")


def order(home: Path, dataset: str, **more: Any) -> WorkOrder:
    spec = JobSpec(
        base="tabular_mlp",
        dataset_id=dataset,
        model="wine",
        task="tabular-classification",
        method=Method.FULL,
        seed=5,
        hyperparameters=HPARAMS | more.pop("hyperparameters", {}),
    )
    return WorkOrder(job_id="j1", spec=spec, home=home, **more)


class Worker:
    """A worker process and its messages, line by line."""

    def __init__(self, folder: Path, given: WorkOrder | None = None, program: str = "", cold: bool = False) -> None:
        """`program`: Python code that runs instead of the worker's module. `cold`: not in a fork that has imported torch."""
        if folder != Path(WAIT):
            folder.mkdir(parents=True, exist_ok=True)
        if given is not None:
            (folder / "spec.json").write_text(given.model_dump_json())
        command = [*(("-c", program) if program else ("-m", "service.training.worker")), str(folder)]
        self.process: PreloadedProcess | subprocess.Popen[str]
        if cold:
            self.process = subprocess.Popen([sys.executable, *command], stdin=PIPE, stdout=PIPE, text=True)
        else:
            self.process = PreloadedProcess(command, stdin=PIPE, stdout=PIPE)

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, kind: str, count: int = 1) -> None:
        for message in self.lines():
            count -= message["kind"] == kind
            if not count:
                return
        raise AssertionError(f"the worker never sent {kind}")

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """The final message. The worker must end by itself with exit code 0."""
        return self.messages()[-1]

    def messages(self) -> list[dict[str, Any]]:
        """All messages until its end."""
        messages = list(self.lines())
        self.close()
        assert self.process.returncode == 0
        return messages

    def close(self) -> None:
        with suppress(BrokenPipeError), self.process:  # closes the pipes, and waits
            pass


@pytest.fixture(scope="module")
def whole(home: Path, wine: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("whole")
    worker = Worker(folder, order(home, wine), cold=True)
    return folder, worker.messages()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "result" / "model.safetensors")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_prewarmed_worker_gives_same_result(
    home: Path, wine: str, whole: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text(order(home, wine).model_dump_json())
    waiting = Worker(Path(WAIT), cold=True)
    waiting.tell(Assignment(folder=tmp_path, lock=tmp_path / ".lock").model_dump_json())
    assert waiting.messages()[-1] == whole[1][-1]
    assert_same(weights(tmp_path), weights(whole[0]))


def test_prewarmed_worker_without_assignment_ends() -> None:
    waiting = Worker(Path(WAIT))
    assert waiting.process.stdin is not None
    waiting.process.stdin.close()
    assert waiting.messages() == []


def test_worker_sends_progress_and_finishes_with_metrics(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, messages = whole
    kinds = [line["kind"] for line in messages]
    assert {"heartbeat", "progress", "metric", "checkpoint", "finished"} <= set(kinds)
    assert kinds.index("finished") == len(kinds) - 1
    assert messages[-1]["metrics"]["accuracy"] > 0.85
    ratios = [line["ratio"] for line in messages if line["kind"] == "progress"]
    assert ratios == sorted(ratios)
    assert (folder / "result" / "manifest.json").is_file()


def test_worker_resumed_after_kill_pause_and_closed_stdin_gives_same_weights(
    home: Path, wine: str, whole: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    killed = Worker(tmp_path, order(home, wine))
    killed.until("checkpoint", 3)
    killed.process.kill()
    killed.close()
    assert not (tmp_path / "result").exists()

    paused = Worker(tmp_path)
    paused.until("checkpoint")
    paused.tell("pause")
    assert paused.end()["kind"] == "stopped"

    left_alone = Worker(tmp_path)
    left_alone.until("checkpoint")
    assert left_alone.process.stdin is not None
    left_alone.process.stdin.close()  # the supervisor is gone
    assert left_alone.end()["kind"] == "stopped"
    assert not (tmp_path / "result").exists()

    assert Worker(tmp_path).end()["kind"] == "finished"
    assert_same(weights(tmp_path), weights(whole[0]))


def test_cancelled_worker_leaves_no_result(home: Path, wine: str, tmp_path: Path) -> None:
    worker = Worker(tmp_path, order(home, wine, hyperparameters={"epochs": 10_000}))
    worker.until("metric")
    worker.tell("cancel")
    assert worker.end()["kind"] == "stopped"
    assert not (tmp_path / "result").exists()


def test_learning_rate_of_1e9_fails_as_diverged(home: Path, wine: str, tmp_path: Path) -> None:
    message = Worker(tmp_path, order(home, wine, hyperparameters={"learning_rate": 1e9})).end()
    assert message["kind"] == "failed"
    assert "diverged" in message["reason"]
    assert "learning_rate" in message["reason"]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()]


FULL_DISK = """
import sys
from pathlib import Path
from service.training import worker
from service.training.loop import checkpoint
written, write = [], checkpoint.save_file
def full(tensors, path):
    written.append(path)
    if len(written) > 8:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))
    write(tensors, path)
checkpoint.save_file = full
worker.main(Path(sys.argv[1]))
"""


def test_full_disk_fails_with_reason_and_keeps_last_checkpoint(
    home: Path, wine: str, whole: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    messages = Worker(tmp_path, order(home, wine), FULL_DISK).messages()
    assert messages[-1] == {"kind": "failed", "reason": "the disk is full; free some space and resume the job"}
    steps = [line["step"] for line in messages if line["kind"] == "checkpoint"]
    assert len(steps) >= 2
    assert (tmp_path / "checkpoints" / str(steps[-1]) / "optimiser.safetensors").is_file()
    # Once the disk has space again, the job resumes from there.
    again = Worker(tmp_path).messages()
    assert min(line["step"] for line in again if line["kind"] == "checkpoint") > steps[-1]
    assert again[-1]["kind"] == "finished"
    assert_same(weights(tmp_path), weights(whole[0]))


def test_missing_data_set_fails_with_one_sentence_and_logs_traceback(home: Path, tmp_path: Path) -> None:
    message = Worker(tmp_path, order(home, "0" * 32)).end()
    assert message["kind"] == "failed"
    assert "data set" in message["reason"]
    assert "gone" in message["reason"]
    assert "Traceback" not in message["reason"]
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_job_over_memory_limit_fails_with_reason(home: Path, wine: str, tmp_path: Path) -> None:
    message = Worker(tmp_path, order(home, wine, memory_mib=50)).end()
    assert message == {"kind": "failed", "reason": message["reason"]}
    assert "out of memory" in message["reason"]
    assert "50 MiB" in message["reason"]


def test_invalid_order_fails_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    assert Worker(tmp_path).end() == {
        "kind": "failed",
        "reason": "the worker failed unexpectedly; its log has the details",
    }


def test_metric_that_is_not_finite_becomes_a_warning() -> None:
    stream = io.StringIO()
    send = MessageWriter(stream, StopSignal())
    for step in (1, 2):
        send(Metric(name="r2", split="validation", value=float("nan"), step=step))
    send(Metric(name="loss", split="train", value=0.5, step=2))
    send(CheckpointWritten(step=2, epoch=1, metrics={"a": 1.0, "b": float("inf")}, best=True, size_bytes=1))
    send(Finished(metrics={"a": 1.0, "r2": float("nan")}))
    messages = [decode_message(line.encode()) for line in stream.getvalue().splitlines()]
    assert messages == [
        Log(level="warning", text="validation/r2 has no value at step 1: it is nan"),
        Metric(name="loss", split="train", value=0.5, step=2),
        CheckpointWritten(step=2, epoch=1, metrics={"a": 1.0}, best=True, size_bytes=1),
        Finished(metrics={"a": 1.0}),
    ]
