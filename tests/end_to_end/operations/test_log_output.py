"""Nobody reads the log any more, or its disk is full: lines are lost and counted, and nothing else is."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.client import Client, SamplesInstance
from tests.support.end_to_end.bare_server import BareServer
from tests.support.end_to_end.server_process import zoo_home
from tests.support.end_to_end.stubs import RNN
from tests.support.end_to_end.user_data import flats_csv

SMALLEST_PIPE = 4096
SOUND = SamplesInstance(np.zeros(512, np.float32), 16_000)
Broken = Callable[[], None]
"""Breaks the streams of a server that has started."""


@contextmanager
def dead_reader() -> Iterator[tuple[dict[str, Any], Broken]]:
    """Both streams are one pipe; its reader dies."""
    reading, writing = os.pipe()

    def die() -> None:
        os.close(reading)
        os.close(writing)

    yield {"stdout": writing, "stderr": writing}, die


@contextmanager
def full_disk() -> Iterator[tuple[dict[str, Any], Broken]]:
    """Both streams go to a file on a disk without room, from the first line on."""
    with Path("/dev/full").open("wb") as full:
        yield {"stdout": full, "stderr": full}, lambda: None


@contextmanager
def reader_who_does_not_read() -> Iterator[tuple[dict[str, Any], Broken]]:
    """Both streams are one pipe, which is full before the first line."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, SMALLEST_PIPE)
    os.write(writing, b"x" * SMALLEST_PIPE)
    yield {"stdout": writing, "stderr": writing}, lambda: None
    os.close(writing)
    os.close(reading)


@pytest.mark.parametrize("streams", [dead_reader, full_disk, reader_who_does_not_read])
def test_unwritable_log_does_not_fail_calls_jobs_or_drain(tmp_path: Path, streams: Callable[[], Any]) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home() / "weights")
    settings = {"ZOO_HOME": str(home), "ZOO_LOG_LEVEL": "debug", "ZOO_MAX_QUEUE_DELAY_MS": "3000"}
    settings["ZOO_JOB_WORKER_READY_S"] = "0"
    with ExitStack() as opened:
        given, breaks = opened.enter_context(streams())
        server = opened.enter_context(BareServer("--model", RNN, settings=settings, cold=False, **given))
        server.live()
        breaks()
        server.ready()
        client = opened.enter_context(Client(server.target))

        # A dataset, read by a process of its own, and a job in another one.
        data = client.upload_dataset(flats_csv(tmp_path / "flats.csv"), columns={"target": "rent"})
        job = client.create_job("tabular_mlp", data.id, "flats", hyperparameters={"epochs": 2})
        for _ in client.watch_job(job.id):
            pass
        ended = client.job(job.id)
        assert (ended.state, ended.state_reason) == ("SUCCEEDED", "")
        if streams is not reader_who_does_not_read:
            assert server.lost_lines() > 0

        # A drain with a call in flight, which is answered.
        call = client.stream_predict(RNN, [SOUND] * 3)
        first = next(call)
        server.process.send_signal(signal.SIGTERM)
        assert first.model == RNN
        assert [outcome.model for outcome in call] == [RNN] * 2
    assert server.process.returncode == 0
