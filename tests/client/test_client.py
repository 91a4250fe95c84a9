"""The two clients: `AsyncClient` is written by hand, `Client` is generated from it."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from service.client import AsyncClient, Client
from tests.support.paths import REPOSITORY

SYNC = REPOSITORY / "service" / "client" / "_sync"


def test_both_clients_have_the_same_methods() -> None:
    def defined(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    def available(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert defined(Client) == defined(AsyncClient)
    assert available(Client) == available(AsyncClient)
    assert {"finetune", "upload_dataset", "watch_job", "promote", "rollback", "set_canary"} < available(Client)


def test_both_clients_have_the_same_parameters_and_documentation() -> None:
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            other = getattr(AsyncClient, name)
            ours, theirs = inspect.signature(method).parameters, inspect.signature(other).parameters
            assert [(p.name, p.kind, p.default) for p in ours.values()] == [
                (p.name, p.kind, p.default) for p in theirs.values()
            ]
            assert method.__doc__ == other.__doc__


def test_regenerating_the_sync_client_changes_nothing(tmp_path: Path) -> None:
    pytest.importorskip("unasync", reason="unasync is not installed")
    command = [sys.executable, "scripts/sync_client.py", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    committed = {path.name: path.read_text() for path in SYNC.glob("*.py")}
    fresh = {path.name: path.read_text() for path in tmp_path.glob("*.py")}
    stale = {name for name in committed | fresh if committed.get(name) != fresh.get(name)}
    assert not stale, "run make client"


def test_sync_client_has_no_coroutines() -> None:
    for path in SYNC.glob("*.py"):
        words = path.read_text(encoding="utf-8").split()
        assert not {"async", "await", "asyncio"} & set(words), path.name
