"""Child processes end with all that they started, with this process, and leave nothing open."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.processes import (
    AsyncChildProcess,
    ChildProcess,
    LineTooLong,
    environment_of_offline_child,
    environment_without_secrets,
)
from tests.support.descriptors import open_descriptors

PATIENCE_S = 60.0
ECHO = (sys.executable, "-c", "import sys\nfor line in sys.stdin: print('heard', line.strip(), flush=True)")
WITH_CHILD = (
    sys.executable,
    "-c",
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])\n"
    "print(child.pid, flush=True)\n"
    "sys.stdin.read()",
)


def wait_until_gone(pid: int) -> None:
    """Returns once a process has ended, reaped or not."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
    raise AssertionError(f"process {pid} still runs")


def descriptors() -> int:
    return open_descriptors()


# ── blocking ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_child_process_answers_lines_in_a_session_of_its_own_and_leaves_nothing_open() -> None:
    before = descriptors()
    child = ChildProcess.start(ECHO)
    assert os.getsid(child.pid) == child.pid
    child.write_line(b"one")
    assert child.read_line() == b"heard one"
    assert child.returncode is None
    assert child.end() == -signal.SIGKILL
    assert child.returncode == -signal.SIGKILL
    assert descriptors() == before


def test_child_process_killed_takes_what_it_started_with_it() -> None:
    child = ChildProcess.start(WITH_CHILD)
    grandchild = int(child.read_line() or 0)
    child.kill()
    wait_until_gone(grandchild)
    assert child.read_line() is None
    child.end()


def test_child_process_that_died_itself_leaves_no_process_of_its_session_after_the_end() -> None:
    child = ChildProcess.start(WITH_CHILD)
    grandchild = int(child.read_line() or 0)
    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    child.end()
    wait_until_gone(grandchild)


def test_child_process_that_ends_within_its_grace_is_not_killed() -> None:
    child = ChildProcess.start((sys.executable, "-c", "import sys; sys.stdin.read(); sys.exit(3)"))
    assert child.end(grace_s=PATIENCE_S) == 3


def test_child_process_that_outlasts_its_grace_is_killed() -> None:
    child = ChildProcess.start((sys.executable, "-c", "import signal; signal.pause()"))
    assert child.end(grace_s=0.05) == -signal.SIGKILL


def test_child_process_without_answer_in_time_is_killed() -> None:
    child = ChildProcess.start((sys.executable, "-c", "import signal; signal.pause()"))
    with child.killed_after(0.05):
        assert child.read_line() is None
    assert child.end() == -signal.SIGKILL


def test_child_process_with_answer_in_time_is_not_killed() -> None:
    child = ChildProcess.start(ECHO)
    with child.killed_after(PATIENCE_S):
        child.write_line(b"one")
        assert child.read_line() == b"heard one"
    child.write_line(b"two")
    assert child.read_line() == b"heard two"
    child.end()


def test_command_that_is_missing_raises_and_leaves_nothing_open() -> None:
    before = descriptors()
    with pytest.raises(FileNotFoundError):
        ChildProcess.start(("/no/such/program",))
    assert descriptors() == before


# ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_async_child_process_answers_lines_until_its_end() -> None:
    child = await AsyncChildProcess.start(ECHO)
    assert os.getsid(child.pid) == child.pid
    child.write_line(b"one")
    assert await child.read_line() == b"heard one"
    assert await child.end() == -signal.SIGKILL
    child.write_line(b"two")
    child.kill()
    assert await child.read_line() is None


@pytest.mark.asyncio
async def test_async_child_process_without_own_session_leads_a_group_of_this_session() -> None:
    child = await AsyncChildProcess.start(ECHO, own_session=False)
    assert os.getpgid(child.pid) == child.pid
    assert os.getsid(child.pid) == os.getsid(0)
    await child.end()


@pytest.mark.asyncio
async def test_async_child_process_killed_takes_what_it_started_with_it() -> None:
    child = await AsyncChildProcess.start(WITH_CHILD)
    grandchild = int(await child.read_line() or 0)
    await child.end()
    wait_until_gone(grandchild)


@pytest.mark.asyncio
async def test_line_over_the_limit_is_dropped_and_the_next_is_read() -> None:
    child = await AsyncChildProcess.start((sys.executable, "-c", "print('x' * 5000); print('after')"), line_limit=1000)
    with pytest.raises(LineTooLong):
        await child.read_line()
    lines = []
    while True:
        try:
            line = await child.read_line()
        except LineTooLong:
            continue
        if line is None:
            break
        lines.append(line)
    assert lines[-1] == b"after"
    assert all(len(line) <= 1000 for line in lines), "a rest of the long line at most"
    assert await child.wait() == 0


@pytest.mark.asyncio
async def test_cancelled_start_leaves_no_child(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"import os, pathlib; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); input()"
    starting = asyncio.create_task(AsyncChildProcess.start((sys.executable, "-c", code)))
    await asyncio.sleep(0)  # the start has begun
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    if pid_file.exists():
        wait_until_gone(int(pid_file.read_text()))


# ── in the child ──────────────────────────────────────────────────────────────────────────────────────────────────

PARENT = """
import sys
from service.processes import ChildProcess
code = '''
import subprocess, sys, time
from service.processes import end_with_parent
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], stdin=subprocess.DEVNULL)
end_with_parent()
print(child.pid, flush=True)
time.sleep(600)
'''
child = ChildProcess.start((sys.executable, "-c", code))
print(child.pid, (child.read_line() or b"").decode(), flush=True)
sys.stdin.read()
"""


def test_child_that_ends_with_its_parent_takes_what_it_started_with_it() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdin is not None
    assert parent.stdout is not None
    child, grandchild = map(int, parent.stdout.readline().split())
    parent.kill()
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    wait_until_gone(child)
    wait_until_gone(grandchild)


# ── environment ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_secrets_of_the_server_do_not_reach_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DATABASE_URL", "postgresql://someone:hunter2@host/db")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter3")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    needs_a_bucket = environment_without_secrets("AWS_")
    assert needs_a_bucket["AWS_SECRET_ACCESS_KEY"] == "hunter3"
    assert "hunter2" not in " ".join(needs_a_bucket.values())
    environment = environment_without_secrets(HF_HUB_OFFLINE="1")
    assert "hunter3" not in environment.values()
    assert "hunter2" not in " ".join(environment.values())
    assert (environment["HF_ENDPOINT"], environment["HF_HUB_OFFLINE"]) == ("http://127.0.0.1:1", "1")
    first, _, rest = environment["PYTHONPATH"].partition(os.pathsep)
    assert (Path(first) / "service").is_dir()
    assert rest == "/elsewhere"


def test_child_that_fetches_nothing_has_no_credentials_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "AZURE_STORAGE_CONNECTION_STRING",
        "AWS_SECRET_ACCESS_KEY",
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "npm_config_registry",
        "npm_config_//registry.example/:_authToken",
        "NPM_TOKEN",
        "PGPASSWORD",
        "HTTPS_PROXY",
        "http_proxy",
        "SOME_API_KEY",
        "MY_SECRET",
    ]
    kept = {"HF_HOME": "/hf", "OMP_NUM_THREADS": "2", "TOKENIZERS_PARALLELISM": "true", "LD_LIBRARY_PATH": "/lib"}
    for name in secrets:
        monkeypatch.setenv(name, "hunter2")
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    environment = environment_of_offline_child(HF_HUB_OFFLINE="1")
    assert not [name for name, value in environment.items() if value == "hunter2"]
    assert environment.items() >= {**kept, "HF_HUB_OFFLINE": "1"}.items()
    assert {"PATH", "PYTHONPATH"} <= environment.keys()
