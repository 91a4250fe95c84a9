"""A worker waits for the next job while users are about, is as low in priority as any, and does not outlive their interest."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.jobs.types import JobState
from service.jobs.workers.launcher import LOCK, ProcessLauncher, Worker
from service.jobs.workers.prewarmed import PrewarmedWorker, WorkerProfile
from service.training.job_spec import WorkOrder
from tests.support.job_fakes import (
    COMMAND,
    PATIENCE_S,
    QUICK,
    Shop,
    spec,
    until,
    until_true,
)

pytestmark = pytest.mark.asyncio

SUITED = WorkerProfile("cpu", 3)
TELL = """
import fcntl, json, os, sys
waited = sys.argv[1] == "--wait"
if waited:
    told = json.loads(sys.stdin.readline() or sys.exit(0))
    lock = os.open(told["lock"], os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
print(json.dumps({
    "pid": os.getpid(), "waited": waited, "folder": told["folder"] if waited else sys.argv[1],
    "class": os.sched_getscheduler(0), "settings": [name for name in os.environ if name.startswith("ZOO_")],
}), flush=True)
sys.stdin.read()
"""
DIES = "import sys; sys.argv[1] == '--wait' and sys.exit(3); print('here', flush=True); sys.stdin.read()"


@pytest_asyncio.fixture
async def launcher() -> AsyncIterator[ProcessLauncher]:
    made = ProcessLauncher((sys.executable, "-c", TELL), ready_s=PATIENCE_S)
    yield made
    await made.stop()


async def started(launcher: ProcessLauncher, folder: Path, threads: int = 3) -> tuple[Worker, Any]:
    order = WorkOrder.model_validate({"job_id": "j1", "spec": spec(), "home": folder, "threads": threads})
    worker = await launcher.start(order, folder)
    line = await asyncio.wait_for(worker.line(), PATIENCE_S)
    assert line is not None
    return worker, json.loads(line)


async def ended(worker: Worker) -> None:
    worker.kill()
    await asyncio.wait_for(worker.wait(), PATIENCE_S)


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


async def test_the_job_gets_the_worker_that_waits_with_its_folder_and_its_lock(
    launcher: ProcessLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", "postgresql://zoo:sesame@host/zoo")
    launcher.expect(SUITED)
    worker, told = await started(launcher, tmp_path)
    assert told == {
        "pid": told["pid"],
        "waited": True,
        "folder": str(tmp_path),
        "class": os.SCHED_IDLE,
        "settings": [],
    }
    with (tmp_path / LOCK).open() as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        await ended(worker)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def test_each_job_has_a_worker_of_its_own(launcher: ProcessLauncher, tmp_path: Path) -> None:
    launcher.expect(SUITED)
    launcher.expect(SUITED)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    one, first = await started(launcher, folders[0])
    other, second = await started(launcher, folders[1])
    assert (first["waited"], second["waited"]) == (True, False)
    assert first["pid"] != second["pid"]
    await ended(one)
    await ended(other)


async def test_a_worker_that_waits_with_other_threads_is_not_taken(launcher: ProcessLauncher, tmp_path: Path) -> None:
    launcher.expect(SUITED)
    worker, told = await started(launcher, tmp_path, threads=1)
    assert not told["waited"]
    await ended(worker)


async def test_where_the_one_that_waits_has_died_a_job_gets_a_new_one(tmp_path: Path) -> None:
    launcher = ProcessLauncher((sys.executable, "-c", DIES), ready_s=PATIENCE_S)
    gone: list[asyncio.subprocess.Process] = []
    kept = launcher._ready
    start = kept._start

    async def noted(suited: WorkerProfile) -> asyncio.subprocess.Process:
        gone.append(await start(suited))
        return gone[-1]

    kept._start = noted
    launcher.expect(SUITED)
    await until_true(lambda: bool(gone) and gone[0].returncode is not None)
    order = WorkOrder.model_validate({"job_id": "j1", "spec": spec(), "home": tmp_path, "threads": 3})
    worker = await launcher.start(order, tmp_path)
    assert await asyncio.wait_for(worker.line(), PATIENCE_S) == b"here"
    await ended(worker)

    launcher.expect(SUITED)
    await until_true(lambda: len(gone) == 2 and gone[1].returncode is not None)
    launcher.expect(SUITED)  # another sign of users is another try
    await until_true(lambda: len(gone) == 3 and gone[2].returncode is not None)
    await launcher.stop()


async def waiting_process(keep_s: float) -> tuple[PrewarmedWorker, asyncio.subprocess.Process]:
    made: list[asyncio.subprocess.Process] = []

    async def start(suited: WorkerProfile) -> asyncio.subprocess.Process:
        made.append(await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE))
        return made[0]

    ready = PrewarmedWorker(start, keep_s)
    ready.expect(SUITED)
    await until_true(lambda: bool(made))
    return ready, made[0]


async def test_it_is_ended_where_no_job_comes() -> None:
    ready, process = await waiting_process(keep_s=0.05)
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -9
    assert await ready.take(SUITED) is None


async def test_it_is_ended_with_the_server() -> None:
    ready, process = await waiting_process(keep_s=PATIENCE_S)
    await ready.stop()
    assert not alive(process.pid)


async def test_a_server_that_keeps_none_starts_none(tmp_path: Path) -> None:
    launcher = ProcessLauncher((sys.executable, "-c", TELL), ready_s=0.0)
    launcher.expect(SUITED)
    worker, told = await started(launcher, tmp_path)
    assert not told["waited"]
    await ended(worker)


async def test_jobs_are_done_by_workers_that_waited_and_the_next_one_waits_again(shop: Shop) -> None:
    wrapper = f"""
import json, os, runpy, sys
if sys.argv[1] == "--wait":
    told = json.loads(sys.stdin.readline() or sys.exit(0))
    open(told["folder"].rstrip("/") + ".waited", "w").close()
    sys.argv[1] = told["folder"]
runpy.run_path({COMMAND[-1]!r}, run_name="__main__")
"""
    launcher = ProcessLauncher((sys.executable, "-c", wrapper), nice=0, ready_s=PATIENCE_S)
    async with shop.open(replace(QUICK, threads=3), launcher=launcher) as jobs:
        jobs.expect()
        for steps in (1, 2):
            job = await until(jobs, await jobs.create(spec(steps=steps)), JobState.SUCCEEDED)
            assert shop.folder(job).with_suffix(".waited").exists()
    assert launcher._ready._starting is None, "a server that stops leaves nobody waiting"
