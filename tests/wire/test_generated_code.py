"""The committed code is generated from the protos, and the protos keep every released field."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    done = run("scripts/protos.py", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    committed = {path.name: path.read_text() for path in (ROOT / "service" / "pb").glob("*.py*")}
    fresh = {path.name: path.read_text() for path in tmp_path.glob("*.py*")}
    stale = {name for name in committed | fresh if committed.get(name) != fresh.get(name)}
    assert not stale, "run python scripts/protos.py"


@pytest.mark.skipif(not (Path(sys.executable).parent / "buf").exists(), reason="buf is not installed")
def test_protos_lint_and_keep_what_was_released() -> None:
    done = run("scripts/buf_check.py")
    assert done.returncode == 0, done.stdout + done.stderr
