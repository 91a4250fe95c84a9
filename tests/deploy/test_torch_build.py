"""Which build of torch is taken: decided over a fake pip, and by real pips over a folder of tiny wheels."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from scripts.torch_build import BuildError, choose, has_nvidia_gpu, pinned
from tests.support.paths import REPOSITORY

PINS = {"torch": "2.9.0", "torchvision": "0.24.0"}
CPU = ("torch==2.9.0+cpu", "torchvision==0.24.0+cpu")
NOT_CPU = ("torch!=2.9.0+cpu", "torchvision!=0.24.0+cpu")
SCRIPT = REPOSITORY / "scripts" / "torch_build.py"


def index(**versions: str) -> Callable[[str], Collection[str]]:
    """A pip that finds these versions, separated by spaces."""
    return lambda package: versions.get(package, "").split()


BOTH = index(torch="2.9.0+cpu 2.9.0 2.8.0", torchvision="0.24.0+cpu 0.24.0")


def forbidden(package: str) -> Collection[str]:
    raise AssertionError(f"pip was asked for {package}")


@pytest.mark.parametrize(("device", "why"), [("auto", "no NVIDIA GPU was found"), ("cpu", "DEVICE is cpu")])
def test_build_for_cpus_is_taken_where_the_index_has_it(device: str, why: str) -> None:
    build = choose(device, PINS, BOTH)
    assert build.constraints == CPU
    assert build.said == f"Taking torch 2.9.0+cpu, the build for CPUs alone: {why}."


@pytest.mark.parametrize(
    ("offered", "missing"),
    [
        (index(torch="2.9.0", torchvision="0.24.0"), "no torch==2.9.0+cpu and no torchvision==0.24.0+cpu."),
        (index(torch="2.9.0+cpu 2.9.0", torchvision="0.24.0"), "no torchvision==0.24.0+cpu."),
        (index(torch="2.8.0+cpu 2.9.0", torchvision="0.24.0+cpu"), "no torch==2.9.0+cpu."),
        (index(), "no torch==2.9.0+cpu and no torchvision==0.24.0+cpu."),
    ],
    ids=["neither", "torch alone", "another version", "no index"],
)
def test_usual_build_is_taken_where_the_index_lacks_one_of_both(
    offered: Callable[[str], Collection[str]], missing: str
) -> None:
    build = choose("auto", PINS, offered)
    assert build.constraints == ()
    assert build.said.startswith(
        "Taking the usual build of torch 2.9.0: no NVIDIA GPU was found, but the package index"
    )
    assert missing in build.said
    assert "TORCH_INDEX_URL" in build.said


def test_index_that_is_named_for_a_cpu_must_have_the_build() -> None:
    with pytest.raises(BuildError, match=r"^DEVICE is cpu, but neither TORCH_INDEX_URL .* has torch==2\.9\.0\+cpu"):
        choose("cpu", PINS, index(torchvision="0.24.0+cpu"), index="https://wheels.example/cuda")
    assert choose("auto", PINS, index(), index="https://wheels.example/cuda").constraints == ()


@pytest.mark.parametrize(("device", "has_gpu"), [("auto", True), ("cuda", False), ("cuda", True)])
def test_build_for_cpus_is_excluded_for_a_gpu(device: str, has_gpu: bool) -> None:
    build = choose(device, PINS, forbidden, has_gpu=has_gpu)
    assert build.constraints == NOT_CPU
    assert build.said.startswith("Taking torch 2.9.0 with CUDA: ")


def test_device_cpu_wins_over_a_gpu() -> None:
    assert choose("cpu", PINS, BOTH, has_gpu=True).constraints == CPU


@pytest.mark.parametrize("installed", ["2.9.0", "2.9.0+cpu", "2.9.0+cu130"])
def test_installed_torch_of_the_pinned_version_stays(installed: str) -> None:
    build = choose("auto", PINS, forbidden, installed=installed)
    assert build.constraints == ()
    assert build.said == f"torch {installed} is installed already and stays."


def test_installed_torch_of_another_version_is_chosen_anew() -> None:
    assert choose("auto", PINS, BOTH, installed="2.8.0+cpu").constraints == CPU


@pytest.mark.parametrize("device", ["gpu", "CPU", "cuda:0"])
def test_wrong_device_is_an_error_that_names_the_right_ones(device: str) -> None:
    with pytest.raises(BuildError, match=r"^DEVICE is '.*'; expected one of auto, cpu, cuda$"):
        choose(device, PINS, forbidden)


def test_pins_are_those_of_the_constraints() -> None:
    assert pinned("timm==1.0\ntorch==2.9.0\ntorchmetrics==1.9\ntorchvision==0.24.0\n") == PINS
    assert pinned((REPOSITORY / "constraints.txt").read_text()).keys() == PINS.keys()
    with pytest.raises(BuildError, match="must pin torch and torchvision by =="):
        pinned("torch>=2.9.0\ntorchvision==0.24.0\n")


def test_gpu_is_found_by_the_files_of_its_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not has_nvidia_gpu(tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvidiactl").touch()
    assert has_nvidia_gpu(tmp_path)


def wheel(folder: Path, name: str, version: str) -> None:
    """A wheel that has nothing but its name."""
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as file:
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with pip and without torch."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
    return folder / "bin" / "python"


@pytest.mark.parametrize(
    ("device", "builds", "installed"),
    [
        ("cpu", ["2.9.0", "2.9.0+cpu"], "2.9.0+cpu"),
        ("cpu", ["2.9.0"], "2.9.0"),
        ("cuda", ["2.9.0", "2.9.0+cpu"], "2.9.0"),
        ("cuda", ["2.9.0", "2.9.0+cpu", "2.9.0+cu130"], "2.9.0+cu130"),
    ],
)
def test_pip_installs_the_build_that_was_said(
    device: str, builds: list[str], installed: str, python: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    index.mkdir()
    for build in builds:
        wheel(index, "torch", build)
        wheel(index, "torchvision", build.replace("2.9.0", "0.24.0"))
    (tmp_path / "constraints.txt").write_text("torch==2.9.0\ntorchvision==0.24.0\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PIP_")},
        "DEVICE": device,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_FIND_LINKS": str(index),
        "PIP_NO_INDEX": "1",
        "TORCH_INDEX_URL": "",
    }
    chosen = tmp_path / "chosen.txt"
    said = subprocess.run(
        [python, SCRIPT, "--constraints", tmp_path / "constraints.txt", "--out", chosen],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--target", tmp_path / "site"]
        + [f"--constraint={file}" for file in (chosen, tmp_path / "constraints.txt")]
        + [*PINS],
        env=environment,
        check=True,
        timeout=120,
    )
    assert [path.name for path in (tmp_path / "site").glob("torch-*")] == [f"torch-{installed}.dist-info"]
    assert ("CUDA:" if device == "cuda" else installed) in said


def test_wrong_device_ends_the_command_with_code_2(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--out", tmp_path / "chosen.txt"],
        env={**os.environ, "DEVICE": "tpu"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (2, "DEVICE is 'tpu'; expected one of auto, cpu, cuda\n")
    assert not (tmp_path / "chosen.txt").exists()
