"""The worker process, whole and alone: what it says, what it is told, and how it goes on after it was killed."""

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
from tests.support.training_data import add_dataset

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
    """A worker process, and what it says line by line."""

    def __init__(self, folder: Path, given: WorkOrder | None = None, program: str = "") -> None:
        """`program`: what to run instead of the worker's module."""
        if folder != Path(WAIT):
            folder.mkdir(parents=True, exist_ok=True)
        if given is not None:
            (folder / "spec.json").write_text(given.model_dump_json())
        self.process = subprocess.Popen(
            [sys.executable, *(("-c", program) if program else ("-m", "service.training.worker")), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield json.loads(line)

    def until(self, kind: str, count: int = 1) -> None:
        for said in self.lines():
            count -= said["kind"] == kind
            if not count:
                return
        raise AssertionError(f"it never said {kind}")

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> dict[str, Any]:
        """Its last word; it must end by itself, well."""
        return self.everything()[-1]

    def everything(self) -> list[dict[str, Any]]:
        """All that it says to its end."""
        said = list(self.lines())
        self.close()
        assert self.process.returncode == 0
        return said

    def close(self) -> None:
        with suppress(BrokenPipeError), self.process:  # closes the pipes, and waits
            pass


@pytest.fixture(scope="module")
def whole(home: Path, wine: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("whole")
    worker = Worker(folder, order(home, wine))
    return folder, worker.everything()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "result" / "model.safetensors")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_worker_that_was_kept_ready_gives_the_same_result(
    home: Path, wine: str, whole: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text(order(home, wine).model_dump_json())
    waiting = Worker(Path(WAIT))
    waiting.tell(Assignment(folder=tmp_path, lock=tmp_path / ".lock").model_dump_json())
    assert waiting.everything()[-1] == whole[1][-1]
    assert_same(weights(tmp_path), weights(whole[0]))


def test_a_worker_that_nobody_needs_ends() -> None:
    waiting = Worker(Path(WAIT))
    assert waiting.process.stdin is not None
    waiting.process.stdin.close()
    assert waiting.everything() == []


def test_it_says_how_far_it_is_and_ends_with_figures(whole: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, said = whole
    kinds = [line["kind"] for line in said]
    assert {"heartbeat", "progress", "metric", "checkpoint", "finished"} <= set(kinds)
    assert kinds.index("finished") == len(kinds) - 1
    assert said[-1]["metrics"]["accuracy"] > 0.85
    ratios = [line["ratio"] for line in said if line["kind"] == "progress"]
    assert ratios == sorted(ratios)
    assert (folder / "result" / "manifest.json").is_file()


def test_a_worker_that_was_killed_paused_and_left_alone_goes_on_as_if_nothing_had_happened(
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


def test_a_cancelled_worker_ends_without_a_result(home: Path, wine: str, tmp_path: Path) -> None:
    worker = Worker(tmp_path, order(home, wine, hyperparameters={"epochs": 10_000}))
    worker.until("metric")
    worker.tell("cancel")
    assert worker.end()["kind"] == "stopped"
    assert not (tmp_path / "result").exists()


def test_a_learning_rate_of_1e9_fails_with_that_word(home: Path, wine: str, tmp_path: Path) -> None:
    said = Worker(tmp_path, order(home, wine, hyperparameters={"learning_rate": 1e9})).end()
    assert said["kind"] == "failed"
    assert "diverged" in said["reason"]
    assert "learning_rate" in said["reason"]
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


def test_a_full_disk_fails_with_that_reason_and_keeps_the_last_checkpoint(
    home: Path, wine: str, whole: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    said = Worker(tmp_path, order(home, wine), FULL_DISK).everything()
    assert said[-1] == {"kind": "failed", "reason": "the disk is full; free some space and resume the job"}
    kept = [line["step"] for line in said if line["kind"] == "checkpoint"]
    assert len(kept) >= 2
    assert (tmp_path / "checkpoints" / str(kept[-1]) / "optimiser.safetensors").is_file()
    # Once there is room again, it goes on from there.
    again = Worker(tmp_path).everything()
    assert min(line["step"] for line in again if line["kind"] == "checkpoint") > kept[-1]
    assert again[-1]["kind"] == "finished"
    assert_same(weights(tmp_path), weights(whole[0]))


def test_what_goes_wrong_is_said_in_one_sentence_and_told_in_the_log(home: Path, tmp_path: Path) -> None:
    said = Worker(tmp_path, order(home, "0" * 32)).end()
    assert said["kind"] == "failed"
    assert "data set" in said["reason"]
    assert "gone" in said["reason"]
    assert "Traceback" not in said["reason"]
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_job_beyond_its_memory_ends_and_says_so(home: Path, wine: str, tmp_path: Path) -> None:
    said = Worker(tmp_path, order(home, wine, memory_mib=50)).end()
    assert said == {"kind": "failed", "reason": said["reason"]}
    assert "out of memory" in said["reason"]
    assert "50 MiB" in said["reason"]


def test_an_order_that_is_none_fails_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text("{}")
    assert Worker(tmp_path).end() == {
        "kind": "failed",
        "reason": "the worker failed unexpectedly; its log has the details",
    }


def test_a_metric_without_a_value_is_told_in_words_and_spoils_no_line() -> None:
    heard = io.StringIO()
    send = MessageWriter(heard, StopSignal())
    for step in (1, 2):
        send(Metric(name="r2", split="validation", value=float("nan"), step=step))
    send(Metric(name="loss", split="train", value=0.5, step=2))
    send(CheckpointWritten(step=2, epoch=1, metrics={"a": 1.0, "b": float("inf")}, best=True, size_bytes=1))
    send(Finished(metrics={"a": 1.0, "r2": float("nan")}))
    said = [decode_message(line.encode()) for line in heard.getvalue().splitlines()]
    assert said == [
        Log(level="warning", text="validation/r2 has no value at step 1: it is nan"),
        Metric(name="loss", split="train", value=0.5, step=2),
        CheckpointWritten(step=2, epoch=1, metrics={"a": 1.0}, best=True, size_bytes=1),
        Finished(metrics={"a": 1.0}),
    ]
