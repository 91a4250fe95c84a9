"""Compilation of a network by AOTInductor, in the compile worker."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from service.runtime.compilers.compiled_manifest import LIBRARY
from service.runtime.compilers.packed_convolutions import PackConvolutions

OPTIONS: dict[str, Any] = {
    "freezing": True,  # weights are constants: batch norms are folded into them, and they are packed for the kernels
    "aot_inductor.precompile_headers": False,  # is faster only from the second network of a process on
    "post_grad_custom_pre_pass": PackConvolutions(),
}


class MissingKernels(Exception):
    """The code needs other files to run."""


def compile_program(program: ExportedProgram, staging: Path) -> None:
    """Write the library of a traced network into the staging folder. Raises MissingKernels, and errors of the compiler."""
    archive = staging / "network.pt2"
    torch._inductor.aoti_compile_and_package(program, package_path=str(archive), inductor_configs=dict(OPTIONS))
    with zipfile.ZipFile(archive) as packed:
        files = packed.namelist()
        if any("extern_kernel_nodes" in name for name in files):
            raise MissingKernels
        (found,) = [name for name in files if name.endswith(".so")]
        with packed.open(found) as source, (staging / LIBRARY).open("wb") as target:
            while piece := source.read(1 << 20):
                target.write(piece)
