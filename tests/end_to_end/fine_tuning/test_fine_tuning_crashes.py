"""Whatever ends a server or a worker midway through a job, the job finishes by itself, and who looks on sees all of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from service.client import Job, StateChanged
from tests.support.end_to_end.server_process import until
from tests.support.end_to_end.user_data import NEW_SENTENCES
from tests.support.end_to_end.workshop import TunedModels, Watcher

LONG = {"epochs": 40, "patience": 0, "checkpoint_steps": 40, "batch_size": 16}
"""Some 750 steps: it can be ended in the middle on any machine. Seeded, so that the weights can be compared."""
MIDWAY = 80
"""By then there are several checkpoints."""


@pytest.fixture(scope="module")
def weights(made: TunedModels) -> bytes:
    """Of a job that nobody disturbed."""
    return weights_of(made, made.workshop.succeeded(begin(made, "undisturbed")))


def begin(made: TunedModels, model: str) -> Job:
    return made.client.create_job("tabular_mlp", made.data["flats"].id, model, hyperparameters=LONG)


def weights_of(made: TunedModels, job: Job) -> bytes:
    return (made.workshop.home / "versions" / job.model / str(job.version) / "model.safetensors").read_bytes()


def worker_of(job: Job) -> int:
    """The process that works on a job: the one that holds its lock."""
    for process in Path("/proc").iterdir():
        try:
            held = [str(file.readlink()) for file in (process / "fd").iterdir()] if process.name.isdecimal() else []
        except OSError:
            continue
        if any(name.endswith(f"{job.id}/.lock") for name in held):
            return int(process.name)
    raise AssertionError(f"nobody works on {job.id}")


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()


def sees_each_event_once(watcher: Watcher) -> None:
    events = watcher.end()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


def test_killed_server_finishes_the_job_after_its_restart(made: TunedModels, weights: bytes) -> None:
    job = begin(made, "killed_server")
    watcher = Watcher(made.client, job)
    watcher.until_step(MIDWAY)
    worker = worker_of(job)
    made.workshop.kill()
    until(lambda: gone(worker), "the worker to go with its server")
    made.workshop.start()
    sees_each_event_once(watcher)
    ended = made.client.job(job.id)
    assert (ended.state, ended.version, ended.attempts) == ("SUCCEEDED", 1, 2)
    assert watcher.states == ["QUEUED", "RUNNING", "QUEUED", "RUNNING", "SUCCEEDED"]
    assert weights_of(made, ended) == weights, "resumed equals uninterrupted"
    [answer] = made.client.predict("killed_server", {"size": 80.0, "age": 10.0, "part": "centre"})
    assert answer.value > 0
    [answer] = made.client.predict("topics", NEW_SENTENCES["food"], version="1")
    assert answer.labels[0].name == "food", "what was tuned before the crash is served after it"


def test_stopped_server_pauses_the_job_and_finishes_it_after_its_restart(made: TunedModels, weights: bytes) -> None:
    job = begin(made, "stopped_server")
    watcher = Watcher(made.client, job)
    watcher.until_step(MIDWAY)
    made.workshop.stop()
    made.workshop.start()
    sees_each_event_once(watcher)
    ended = made.client.job(job.id)
    assert (ended.state, ended.version, ended.attempts) == ("SUCCEEDED", 1, 2)
    reasons = [event.what.reason for event in watcher.events if isinstance(event.what, StateChanged)]
    assert any(reason.startswith("the server was stopped; the job goes on") for reason in reasons)
    assert weights_of(made, ended) == weights, "resumed equals uninterrupted"


def test_killed_worker_is_replaced(made: TunedModels, weights: bytes) -> None:
    job = begin(made, "killed_worker")
    watcher = Watcher(made.client, job)
    watcher.until_step(MIDWAY)
    os.kill(worker_of(job), signal.SIGKILL)
    sees_each_event_once(watcher)
    ended = made.client.job(job.id)
    assert (ended.state, ended.attempts) == ("SUCCEEDED", 2)
    reasons = [event.what.reason for event in watcher.events if isinstance(event.what, StateChanged)]
    assert any("SIGKILL" in reason and "goes on from its last checkpoint" in reason for reason in reasons)
    assert weights_of(made, ended) == weights, "resumed equals uninterrupted"


def test_paused_job_continues_after_resume(made: TunedModels, weights: bytes) -> None:
    job = begin(made, "paused")
    watcher = Watcher(made.client, job)
    watcher.until_step(MIDWAY)
    made.client.pause_job(job.id)
    watcher.until(lambda e: isinstance(e.what, StateChanged) and e.what.state == "PAUSED", "rest")
    assert made.client.checkpoints(job.id)[-1].step >= MIDWAY
    made.client.resume_job(job.id)
    sees_each_event_once(watcher)
    assert watcher.states == ["QUEUED", "RUNNING", "PAUSED", "QUEUED", "RUNNING", "SUCCEEDED"]
    assert weights_of(made, made.client.job(job.id)) == weights, "resumed equals uninterrupted"
