"""Workers are processes of the lowest priority that cannot outlive their server, and hear and say lines."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from service.jobs.workers.bootstrap import OOM_SCORE
from service.jobs.workers.launcher import ProcessLauncher, Worker, environment
from service.training.job_spec import WorkOrder
from tests.support.job_fakes import PATIENCE_S, spec, until_true

pytestmark = pytest.mark.asyncio

TELL = """
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


def order(folder: Path, **more: object) -> WorkOrder:
    return WorkOrder.model_validate({"job_id": "j1", "spec": spec(), "home": folder, "threads": 3, **more})


async def start(folder: Path, code: str) -> Worker:
    return await ProcessLauncher((sys.executable, "-c", code)).start(order(folder), folder)


async def heard(worker: Worker) -> bytes | None:
    return await asyncio.wait_for(worker.line(), PATIENCE_S)


async def test_a_worker_gives_way_to_everybody_and_dies_with_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", "postgresql://zoo:sesame@host/zoo")
    worker = await start(tmp_path, TELL)
    line = await heard(worker)
    assert line is not None
    told = json.loads(line)
    assert told["nice"] == 19
    assert told["class"] == os.SCHED_IDLE
    assert told["death"] == 9
    assert told["oom"] == OOM_SCORE
    assert told["core"] == [0, 0]
    assert told["folder"] == str(tmp_path)
    assert told["group"] == told["pid"], "Ctrl-C in the server's terminal is not for the worker"
    assert told["session"] == os.getsid(0), "or nice would mean nothing"
    assert told["env"]["OMP_NUM_THREADS"] == "3"
    assert not [name for name in told["env"] if name.startswith("ZOO_")], "settings may hold passwords"
    worker.say("pause")
    assert await heard(worker) == b"heard pause"
    worker.kill()
    assert await worker.wait() == -9
    worker.say("cancel")  # nobody is there, and nothing happens
    worker.hold()
    worker.go()
    worker.kill()
    assert await heard(worker) is None
    assert "to the log" in (tmp_path / "log.txt").read_text()


async def test_a_worker_can_be_killed_while_it_is_held(tmp_path: Path) -> None:
    worker = await start(tmp_path, "import sys; print('here', flush=True); sys.stdin.read()")
    await heard(worker)
    worker.hold()
    worker.kill()
    assert await asyncio.wait_for(worker.wait(), PATIENCE_S) == -9


async def test_a_line_without_end_is_thrown_away_and_the_next_is_heard(tmp_path: Path) -> None:
    worker = await start(tmp_path, "print('x' * 5_000_000); print('after')")
    lines = []
    while (line := await heard(worker)) is not None:
        lines.append(line)
    assert lines[-1] == b"after"
    assert all(len(line) < 1024 * 1024 for line in lines)
    assert await worker.wait() == 0


async def test_a_command_that_is_not_there_ends_with_its_reason_in_the_log(tmp_path: Path) -> None:
    worker = await ProcessLauncher(("/no/such/python",)).start(order(tmp_path), tmp_path)
    assert await heard(worker) is None
    assert await worker.wait() != 0
    assert "No such file" in (tmp_path / "log.txt").read_text()


async def test_waiting_for_a_core_is_seen(tmp_path: Path) -> None:
    """Two that want one core: each is kept from it for some of the time."""
    spin = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); print('here', flush=True)\nwhile True: pass"
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    workers = [await start(folder, spin) for folder in folders]
    for worker in workers:
        await heard(worker)
    before = [worker.starved_s() for worker in workers]
    await until_true(lambda: any(w.starved_s() > s + 0.05 for w, s in zip(workers, before, strict=True)))
    for worker in workers:
        worker.kill()
        await worker.wait()


async def test_only_a_cpu_worker_is_kept_from_the_gpu(tmp_path: Path) -> None:
    mine = {"PATH": "/bin", "ZOO_HOME": "/x", "CUDA_VISIBLE_DEVICES": "0"}
    assert environment(mine, order(tmp_path))["CUDA_VISIBLE_DEVICES"] == ""
    assert environment(mine, order(tmp_path, device="cuda"))["CUDA_VISIBLE_DEVICES"] == "0"
