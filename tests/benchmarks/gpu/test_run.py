"""The smallest form of the run, on the CPU."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from benchmarks.paths import ROOT

pytestmark = pytest.mark.slow


def run(python: str, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", "benchmarks.gpu.run", "--smallest", "--out", str(out), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_smallest_run_on_a_cpu_measures_every_part(tmp_path: Path) -> None:
    done = run(sys.executable, tmp_path / "gpu.json", "--device", "cpu")

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "gpu.json").read_text())
    assert report["checks"]["tiers"]["passed"]
    assert report["checks"]["graphs"] == {"skipped": "it needs a GPU", "took_s": report["checks"]["graphs"]["took_s"]}
    loads = report["loads"]["fp32"]
    assert set(loads) == {"closed", "photos", "server"}
    assert all(not one["errors"] for one in [*loads["closed"].values(), *loads["photos"].values()])
    assert "| tiers | passed |" in done.stdout


def test_bare_python_is_told_what_is_missing(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)

    done = run(str(tmp_path / "bare" / "bin" / "python"), tmp_path / "gpu.json")

    assert done.returncode == 3, done.stdout + done.stderr
    assert "**The checks did not run.** Missing packages: " in done.stdout
    assert "torch" in json.loads((tmp_path / "gpu.json").read_text())["missing"]["checks"]


def test_gpu_that_is_not_there_is_rejected(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run(sys.executable, tmp_path / "gpu.json", "--device", "cuda:0")
    assert done.returncode == 1
    assert "sees no GPU on this machine" in done.stderr
