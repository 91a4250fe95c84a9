"""Workers are processes of the lowest priority that cannot outlive their server, and exchange lines with it.

One worker is prewarmed while a job is likely to come, and ended when none comes.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from service.jobs.types import JobState
from service.jobs.workers.bootstrap import OOM_SCORE
from service.jobs.workers.launcher import (
    LOCK,
    PrewarmedWorker,
    ProcessLauncher,
    Worker,
    WorkerProfile,
    environment,
)
from service.processes import AsyncChildProcess
from service.training.job_spec import WorkOrder
from tests.support.jobs.fakes import (
    COMMAND,
    LAUNCHER,
    PATIENCE_S,
    QUICK,
    JobSandbox,
    kill,
    spec,
    until,
    until_step,
    until_true,
)

pytestmark = pytest.mark.asyncio

PROFILE = WorkerProfile("cpu", 3)
DESCRIBES_ITSELF = """
import ctypes, json, os, resource, sys
death = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(death))
print(json.dumps({
    "nice": os.nice(0), "class": os.sched_getscheduler(0), "death": death.value, "group": os.getpgid(0), "pid": os.getpid(),
    "session": os.getsid(0), "core": resource.getrlimit(resource.RLIMIT_CORE), "folder": sys.argv[1],
    "oom": open("/proc/self/oom_score_adj").read().strip(), "env": dict(os.environ),
}), flush=True)
print("to the log", file=sys.stderr, flush=True)
for line in sys.stdin:
    print("heard " + line.strip(), flush=True)
"""
WAITS_FOR_A_JOB = """
import fcntl, json, os, sys
waited = sys.argv[1] == "--wait"
if waited:
    assignment = json.loads(sys.stdin.readline() or sys.exit(0))
    lock = os.open(assignment["lock"], os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
print(json.dumps({
    "pid": os.getpid(), "waited": waited, "folder": assignment["folder"] if waited else sys.argv[1],
    "class": os.sched_getscheduler(0), "settings": [name for name in os.environ if name.startswith("ZOO_")],
}), flush=True)
sys.stdin.read()
"""
DIES_WAITING = "import sys; sys.argv[1] == '--wait' and sys.exit(3); print('here', flush=True); sys.stdin.read()"


def order(folder: Path, **more: object) -> WorkOrder:
    return WorkOrder.model_validate({"job_id": "j1", "spec": spec(), "home": folder, "threads": 3, **more})


async def start(folder: Path, code: str) -> Worker:
    return await ProcessLauncher((sys.executable, "-c", code)).start(order(folder), folder)


async def next_line(worker: Worker) -> bytes | None:
    return await asyncio.wait_for(worker.read_line(), PATIENCE_S)


@pytest.mark.parametrize("niceness", [0, 7])
async def test_worker_of_a_higher_priority_competes_for_the_cores(tmp_path: Path, niceness: int) -> None:
    launcher = ProcessLauncher((sys.executable, "-c", DESCRIBES_ITSELF), niceness=niceness)
    worker = await launcher.start(order(tmp_path), tmp_path)
    line = await next_line(worker)
    assert line is not None
    described = json.loads(line)
    assert (described["nice"], described["class"]) == (niceness, os.SCHED_OTHER)
    worker.kill()
    await worker.wait()


async def test_worker_has_the_lowest_priority_and_dies_with_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", "postgresql://zoo:sesame@host/zoo")
    worker = await start(tmp_path, DESCRIBES_ITSELF)
    line = await next_line(worker)
    assert line is not None
    described = json.loads(line)
    assert described["nice"] == 19
    assert described["class"] == os.SCHED_IDLE
    assert described["death"] == 9
    assert described["oom"] == OOM_SCORE
    assert described["core"] == [0, 0]
    assert described["folder"] == str(tmp_path)
    assert described["group"] == described["pid"], "Ctrl-C in the server's terminal does not reach the worker"
    assert described["session"] == os.getsid(0), (
        "in a session of its own its niceness would count only within that session"
    )
    assert described["env"]["OMP_NUM_THREADS"] == "3"
    assert not [name for name in described["env"] if name.startswith("ZOO_")], "settings may hold passwords"
    worker.send("pause")
    assert await next_line(worker) == b"heard pause"
    worker.kill()
    assert await worker.wait() == -9
    worker.send("cancel")  # it has ended, and nothing happens
    worker.suspend()
    worker.resume()
    worker.kill()
    assert await next_line(worker) is None
    assert "to the log" in (tmp_path / "log.txt").read_text()


async def test_suspended_worker_can_be_killed(tmp_path: Path) -> None:
    worker = await start(tmp_path, "import sys; print('here', flush=True); sys.stdin.read()")
    await next_line(worker)
    worker.suspend()
    worker.kill()
    assert await asyncio.wait_for(worker.wait(), PATIENCE_S) == -9


async def test_line_over_the_limit_is_dropped_and_the_next_is_read(tmp_path: Path) -> None:
    worker = await start(tmp_path, "print('x' * 5_000_000); print('after')")
    lines = []
    while (line := await next_line(worker)) is not None:
        lines.append(line)
    assert lines[-1] == b"after"
    assert all(len(line) < 1024 * 1024 for line in lines)
    assert await worker.wait() == 0


async def test_missing_command_ends_the_worker_with_the_reason_in_its_log(tmp_path: Path) -> None:
    worker = await ProcessLauncher(("/no/such/python",)).start(order(tmp_path), tmp_path)
    assert await next_line(worker) is None
    assert await worker.wait() != 0
    assert "No such file" in (tmp_path / "log.txt").read_text()


async def test_time_without_a_core_is_measured(tmp_path: Path) -> None:
    """Two that want one core: each is kept from it for some of the time."""
    spin = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); print('here', flush=True)\nwhile True: pass"
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    workers = [await start(folder, spin) for folder in folders]
    for worker in workers:
        await next_line(worker)
    before = [worker.starved_s() for worker in workers]
    await until_true(lambda: any(w.starved_s() > s + 0.05 for w, s in zip(workers, before, strict=True)))
    for worker in workers:
        worker.kill()
        await worker.wait()


async def test_environment_hides_the_gpu_from_a_cpu_worker_only() -> None:
    mine = {"PATH": "/bin", "ZOO_HOME": "/x", "CUDA_VISIBLE_DEVICES": "0"}
    assert environment(mine, WorkerProfile("cpu", 3))["CUDA_VISIBLE_DEVICES"] == ""
    assert environment(mine, WorkerProfile("cuda", 3))["CUDA_VISIBLE_DEVICES"] == "0"


@pytest.mark.parametrize("name", ["ZOO_DATABASE_URL", "OTEL_EXPORTER_OTLP_HEADERS"])
async def test_environment_of_a_worker_has_no_secret_of_the_server(name: str) -> None:
    assert name not in environment({name: "secret"}, WorkerProfile("cpu", 1))


async def test_second_worker_of_a_job_waits_for_the_end_of_the_first(sandbox: JobSandbox) -> None:
    """Two of them in one folder would spoil each other's checkpoints."""
    async with sandbox.open() as jobs:
        job = await jobs.create(spec(wait="never"))
        await until_step(jobs, job, 4)
        order = WorkOrder.model_validate_json((sandbox.folder(job) / "spec.json").read_bytes())
        second = await LAUNCHER.start(order, sandbox.folder(job))
        reading = asyncio.create_task(second.read_line())
        await until_step(jobs, job, 4)
        assert not reading.done()
        kill(sandbox.pid(job), signal.SIGKILL)
        assert await asyncio.wait_for(reading, PATIENCE_S)
        second.kill()
        await second.wait()


# ── the prewarmed worker ──────────────────────────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture
async def launcher() -> AsyncIterator[ProcessLauncher]:
    made = ProcessLauncher((sys.executable, "-c", WAITS_FOR_A_JOB), prewarm_s=PATIENCE_S)
    yield made
    await made.stop()


async def started(launcher: ProcessLauncher, folder: Path, threads: int = 3) -> tuple[Worker, Any]:
    """A worker, and what it says of itself."""
    worker = await launcher.start(order(folder, threads=threads), folder)
    line = await next_line(worker)
    assert line is not None
    return worker, json.loads(line)


async def ended(worker: Worker) -> None:
    worker.kill()
    await asyncio.wait_for(worker.wait(), PATIENCE_S)


async def test_prewarmed_worker_gets_the_job_with_its_folder_and_its_lock(
    launcher: ProcessLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", "postgresql://zoo:sesame@host/zoo")
    launcher.prewarm(PROFILE)
    worker, described = await started(launcher, tmp_path)
    assert described == {
        "pid": described["pid"],
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


async def test_second_job_gets_a_worker_of_its_own(launcher: ProcessLauncher, tmp_path: Path) -> None:
    launcher.prewarm(PROFILE)
    launcher.prewarm(PROFILE)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    one, first = await started(launcher, folders[0])
    other, second = await started(launcher, folders[1])
    assert (first["waited"], second["waited"]) == (True, False)
    assert first["pid"] != second["pid"]
    await ended(one)
    await ended(other)


async def test_prewarmed_worker_with_other_threads_is_not_taken(launcher: ProcessLauncher, tmp_path: Path) -> None:
    launcher.prewarm(PROFILE)
    worker, described = await started(launcher, tmp_path, threads=1)
    assert not described["waited"]
    await ended(worker)


async def test_job_after_the_death_of_the_prewarmed_worker_gets_a_new_one(tmp_path: Path) -> None:
    launcher = ProcessLauncher((sys.executable, "-c", DIES_WAITING), prewarm_s=PATIENCE_S)
    started_processes: list[AsyncChildProcess] = []
    prewarmed = launcher._prewarmed
    start = prewarmed._start_process

    async def start_and_note(profile: WorkerProfile) -> AsyncChildProcess:
        started_processes.append(await start(profile))
        return started_processes[-1]

    prewarmed._start_process = start_and_note
    launcher.prewarm(PROFILE)
    await until_true(lambda: bool(started_processes) and started_processes[0].returncode is not None)
    worker = await launcher.start(order(tmp_path), tmp_path)
    assert await next_line(worker) == b"here"
    await ended(worker)

    launcher.prewarm(PROFILE)
    await until_true(lambda: len(started_processes) == 2 and started_processes[1].returncode is not None)
    launcher.prewarm(PROFILE)  # another sign of users is another try
    await until_true(lambda: len(started_processes) == 3 and started_processes[2].returncode is not None)
    await launcher.stop()


async def waiting_process(keep_s: float) -> tuple[PrewarmedWorker, AsyncChildProcess]:
    made: list[AsyncChildProcess] = []

    async def start(profile: WorkerProfile) -> AsyncChildProcess:
        made.append(await AsyncChildProcess.start(("cat",)))
        return made[0]

    prewarmed = PrewarmedWorker(start, keep_s)
    prewarmed.start(PROFILE)
    await until_true(lambda: bool(made))
    return prewarmed, made[0]


async def test_prewarmed_worker_without_a_job_is_ended() -> None:
    prewarmed, process = await waiting_process(keep_s=0.05)
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == -9
    assert await prewarmed.take(PROFILE) is None


async def test_prewarmed_worker_is_ended_by_a_stop() -> None:
    prewarmed, process = await waiting_process(keep_s=PATIENCE_S)
    await prewarmed.stop()
    with pytest.raises(ProcessLookupError):  # it has ended and is reaped
        kill(process.pid, 0)


async def test_launcher_that_keeps_no_worker_prewarms_none(tmp_path: Path) -> None:
    launcher = ProcessLauncher((sys.executable, "-c", WAITS_FOR_A_JOB), prewarm_s=0.0)
    launcher.prewarm(PROFILE)
    worker, described = await started(launcher, tmp_path)
    assert not described["waited"]
    await ended(worker)


async def test_every_job_gets_a_prewarmed_worker_and_the_next_one_waits_again(sandbox: JobSandbox) -> None:
    wrapper = f"""
import json, os, runpy, sys
if sys.argv[1] == "--wait":
    assignment = json.loads(sys.stdin.readline() or sys.exit(0))
    open(assignment["folder"].rstrip("/") + ".waited", "w").close()
    sys.argv[1] = assignment["folder"]
runpy.run_path({COMMAND[-1]!r}, run_name="__main__")
"""
    launcher = ProcessLauncher((sys.executable, "-c", wrapper), niceness=0, prewarm_s=PATIENCE_S)
    async with sandbox.open(replace(QUICK, threads=3), launcher=launcher) as jobs:
        jobs.prewarm()
        for steps in (1, 2):
            job = await until(jobs, await jobs.create(spec(steps=steps)), JobState.SUCCEEDED)
            assert sandbox.folder(job).with_suffix(".waited").exists()
    assert not launcher._prewarmed.waiting, "a server that stops leaves no worker"
