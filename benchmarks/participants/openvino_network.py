"""The zoo's networks as OpenVINO runs them in the tier of that name: the same files for the in-process limit, Zoo and Triton.

A network is described by a line of JSON, so that the process of any peer can load it.
"""

from __future__ import annotations

import json
from pathlib import Path

from model_zoo.catalog import Catalog
from model_zoo.store import Store
from service.runtime.compilers.compiled_cache import CannotCompile, CompiledPackage
from service.runtime.compilers.compiler import OPENVINO, Compiler
from service.runtime.compilers.openvino import OpenVinoRuntime
from service.runtime.device import DevicePlan
from service.runtime.precision import has_instructions


def fast_precision() -> str:
    """The precision of compiled networks on this processor."""
    return "bf16" if has_instructions("bf16", "cpu") else "fp32"


def openvino_network(model: str, home: Path) -> str:
    """The description of a model's converted network. It comes from the home's folder of compiled networks, or is converted now,
    which takes some seconds. Raises CannotCompile."""
    compiler = Compiler(home, Store(home), DevicePlan("cpu", 1, 1))
    if OPENVINO not in compiler.compilers:
        raise CannotCompile("OpenVINO is not installed")
    network = compiler.compile(Catalog.from_package().get(model), fast_precision(), OPENVINO)
    package = network.package
    return json.dumps(
        {
            "folder": str(package.folder),
            "inputs": package.inputs,
            "outputs": package.outputs,
            "precision": network.precision,
        }
    )


def load_openvino(description: str, threads: int) -> OpenVinoRuntime:
    """The described network, for one batch at once on `threads` threads."""
    found = json.loads(description)
    package = CompiledPackage(Path(found["folder"]), {}, tuple(found["inputs"]), tuple(found["outputs"]), 0.0)
    return OpenVinoRuntime(package, found["precision"], DevicePlan("cpu", 1, threads))
