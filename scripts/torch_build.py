"""Which build of the pinned torch is installed: the one for CPUs alone, where the package index offers it.

    python scripts/torch_build.py --out FILE    # says what is taken and why; FILE: constraints for pip

On Linux the usual build of torch carries CUDA, several GB that a machine without an NVIDIA GPU never uses. Builds for CPUs alone
have the local version `+cpu`. pip looks where it is configured to look, and at TORCH_INDEX_URL.

    DEVICE             cpu, cuda, or auto (the default): cuda where this machine has an NVIDIA GPU, else cpu
    TORCH_INDEX_URL    an index of torch's builds to look at beside the usual ones

A torch of the pinned version that is installed already stays. Exit code 2 for a wrong DEVICE, and for a TORCH_INDEX_URL without
the build that DEVICE=cpu asks for. Needs nothing but Python and pip, since it runs before anything is installed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "torchvision")
DEVICES = ("auto", "cpu", "cuda")
GPU_FILES = ("dev/nvidiactl", "proc/driver/nvidia/version", "usr/lib/wsl/lib/libcuda.so.1")
"""Files that NVIDIA's driver makes, the last of them in WSL."""


class BuildError(Exception):
    """The build that is asked for cannot be had; the text is one sentence."""


@dataclass(frozen=True)
class Build:
    """What pip shall take."""

    constraints: tuple[str, ...]
    """Requirements beside those of constraints.txt."""
    said: str
    """One line: what is taken and why."""


def choose(
    device: str,
    pins: Mapping[str, str],
    offered: Callable[[str], Collection[str]],
    *,
    has_gpu: bool = False,
    installed: str | None = None,
    index: str = "",
) -> Build:
    """The build of torch and torchvision.

    `pins` has the version of each; `offered` gives the versions of a package that pip finds; `installed` is the version of torch
    that is installed, and `index` is TORCH_INDEX_URL. Raises BuildError.
    """
    if device not in DEVICES:
        raise BuildError(f"DEVICE is {device!r}; expected one of {', '.join(DEVICES)}")
    torch = pins["torch"]
    if installed is not None and installed.partition("+")[0] == torch:
        return Build((), f"torch {installed} is installed already and stays.")
    if device == "cuda" or (device == "auto" and has_gpu):
        why = "DEVICE is cuda" if device == "cuda" else "this machine has an NVIDIA GPU"
        # pip would prefer a build for CPUs alone, since a local version counts as newer.
        return Build(tuple(f"{name}!={pins[name]}+cpu" for name in PACKAGES), f"Taking torch {torch} with CUDA: {why}.")
    why = "DEVICE is cpu" if device == "cpu" else "no NVIDIA GPU was found"
    wanted = {name: f"{pins[name]}+cpu" for name in PACKAGES}
    missing = [f"{name}=={version}" for name, version in wanted.items() if version not in offered(name)]
    if not missing:
        return Build(
            tuple(f"{name}=={version}" for name, version in wanted.items()),
            f"Taking torch {wanted['torch']}, the build for CPUs alone: {why}.",
        )
    if device == "cpu" and index:
        raise BuildError(f"DEVICE is cpu, but neither TORCH_INDEX_URL nor the usual index has {' and '.join(missing)}")
    return Build(
        (),
        f"Taking the usual build of torch {torch}: {why}, but the package index has no {' and no '.join(missing)}. "
        "On Linux it may carry CUDA, several GB that a CPU does not use; TORCH_INDEX_URL names an index with builds for CPUs.",
    )


def pinned(constraints: str) -> dict[str, str]:
    """The versions of torch and torchvision in the text of constraints.txt."""
    found = dict(re.findall(r"^(torch|torchvision)==([^\s+;]+)", constraints, re.MULTILINE))
    if found.keys() != {*PACKAGES}:
        raise BuildError(f"the constraints must pin {' and '.join(PACKAGES)} by ==")
    return found


def offered_by_pip(package: str, index: str = "") -> frozenset[str]:
    """The versions of a package that pip finds for this Python; none if pip finds no index."""
    command = [sys.executable, "-m", "pip", "index", "versions", package]
    if index:
        command += ["--extra-index-url", index]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    listed = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    return frozenset(listed[1].replace(",", " ").split()) if listed else frozenset()


def has_nvidia_gpu(root: Path = Path("/")) -> bool:
    """Whether this machine has NVIDIA's driver, for a GPU that is there."""
    return any((root / file).exists() for file in GPU_FILES) or shutil.which("nvidia-smi") is not None


def installed_torch() -> str | None:
    """The version of torch in this Python's environment."""
    try:
        return metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Choose the build of the pinned torch that pip installs.")
    parser.add_argument("--out", type=Path, required=True, help="where the constraints for pip go")
    parser.add_argument("--constraints", type=Path, default=ROOT / "constraints.txt", help="where torch is pinned")
    given = parser.parse_args()
    index = os.environ.get("TORCH_INDEX_URL", "")
    try:
        build = choose(
            os.environ.get("DEVICE") or "auto",
            pinned(given.constraints.read_text()),
            lambda package: offered_by_pip(package, index),
            has_gpu=has_nvidia_gpu(),
            installed=installed_torch(),
            index=index,
        )
    except BuildError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    given.out.write_text("".join(f"{line}\n" for line in build.constraints))
    print(build.said)


if __name__ == "__main__":
    main()
