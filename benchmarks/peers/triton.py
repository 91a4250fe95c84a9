"""NVIDIA Triton with its Python backend and dynamic batching, from PyPI's `nvidia-pytriton`, on the CPU.

    python -m benchmarks.peers.triton      tries the settings of TRIED on this machine and prints the best

`BEST` was the best of the sweep for `efficientnet_lite0` on two cores, and within a twentieth of the best for `all_minilm_l6_v2`;
benchmarks/results/triton-sweep.json holds what it saw (2 seconds each; the last three settings of the second were not tried).
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.base import Server, models_ready, packages_path
from benchmarks.processes import ROOT, PeerFailed, free_port, module
from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog

ENVIRONMENT = ROOT / ".venv-triton"
PACKAGE = (
    ENVIRONMENT / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages" / "pytriton"
)


@dataclass(frozen=True)
class Settings:
    """What a Triton operator turns."""

    instances: int = 2
    """Processes that run the model."""
    threads: int = 1
    """Torch threads of each."""
    max_batch: int = 8
    delay_us: int = 0
    """Longest wait of the dynamic batcher for a fuller batch."""


BEST = Settings()


class Triton(Server):
    """`tritonserver` with one model directory a network, in a temporary repository."""

    name = "triton"
    protocol = "grpc"
    pausable = False  # it takes a stub that stood still for dead; idle, it costs about nothing

    def __init__(self, models: Sequence[str], form: str, home: Path, settings: Settings = BEST) -> None:
        if not PACKAGE.is_dir():
            raise PeerFailed(f"Triton is not installed in {ENVIRONMENT.name}; run: make bench-setup")
        self.settings = asdict(settings)
        self._repository = tempfile.TemporaryDirectory(prefix="zoo-bench-triton-")
        folder = Path(self._repository.name)
        for model in models:
            _write_model(folder / "models", model, form, settings)
        backends = _backends(folder)
        port = free_port()
        base = Path(sys.base_prefix)
        environment = {
            "PYTHONHOME": str(base),
            "ZOO_BENCH_PATH": packages_path(),
            "LD_LIBRARY_PATH": str(base / "lib"),
            "ZOO_HOME": str(home),
        }
        options = {
            "model-repository": folder / "models",
            "backend-directory": backends,
            "grpc-address": "127.0.0.1",
            "grpc-port": port,
            "allow-http": "false",
            "allow-metrics": "false",
        }
        command = [str(PACKAGE / "tritonserver" / "bin" / "tritonserver"), *(f"--{k}={v}" for k, v in options.items())]
        super().__init__(command, environment, log="triton", folder=folder)
        self.target = f"127.0.0.1:{port}"
        self.wait_until(lambda: models_ready(self.target, models), "Triton")

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        self._repository.cleanup()


def _backends(folder: Path) -> Path:
    """The package's Python backend with the stub of this Python beside it, as Triton wants to find them."""
    ours = folder / "backends" / "python"
    shutil.copytree(PACKAGE / "tritonserver" / "backends" / "python", ours)
    # The stub finds its libraries relative to where it lies, so it is linked, not copied.
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = PACKAGE / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
    (ours / stub.name).symlink_to(stub)
    (ours / "libtriton_python.so").unlink()
    (ours / "libtriton_python.so").symlink_to(PACKAGE / "tritonserver" / "backends" / "python" / "libtriton_python.so")
    # Its stub was built for numpy 1: with numpy 2 outputs come back empty. It starts in this folder, which is first on its path.
    for name in ("numpy", "numpy.libs"):
        (folder / name).symlink_to(PACKAGE.parent / name)
    return folder / "backends"


def _write_model(repository: Path, model: str, form: str, settings: Settings) -> None:
    folder = repository / model
    (folder / "1").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("triton_model.py"), folder / "1" / "model.py")
    card = None if model == "null" else Catalog.from_package().get(model)
    (folder / "config.pbtxt").write_text(_config(model, card, form, settings))


def _config(model: str, card: Card | None, form: str, settings: Settings) -> str:
    if card is None:
        inputs, outputs = [("x", "TYPE_FP32", "4")], [("y", "TYPE_FP32", "4")]
    else:
        inputs = [(s.name, f"TYPE_{s.datatype}", ", ".join(map(str, s.shape[1:]))) for s in card.signature.inputs]
        outputs = [(s.name, f"TYPE_{s.datatype}", ", ".join(map(str, s.shape[1:]))) for s in card.signature.outputs]
        if form == "raw":
            inputs = [(card.raw_input, "TYPE_STRING", "1")]
    # Ragged: texts of unlike lengths may share a batch, which model.py pads; without it each length would wait alone.
    given = [
        f'{{ name: "{n}" data_type: {t} dims: [ {d} ] {"allow_ragged_batch: true" if "-1" in d else ""} }}'
        for n, t, d in inputs
    ]
    taken = [f'{{ name: "{n}" data_type: {t} dims: [ {d} ] }}' for n, t, d in outputs]
    parameters = {"network": model, "form": form, "threads": str(settings.threads)}
    return "\n".join(
        [
            'backend: "python"',
            f"max_batch_size: {64 if card is None else settings.max_batch}",
            f"input [ {', '.join(given)} ]",
            f"output [ {', '.join(taken)} ]",
            f"instance_group [ {{ count: {settings.instances} kind: KIND_CPU }} ]",
            f"dynamic_batching {{ max_queue_delay_microseconds: {settings.delay_us}",
            # Lets a request say how long it may wait, which overload is measured with.
            "  default_queue_policy { timeout_action: REJECT allow_timeout_override: true } }",
            *(f'parameters {{ key: "{k}" value: {{ string_value: "{v}" }} }}' for k, v in parameters.items()),
        ]
    )


# ── its best settings ─────────────────────────────────────────────────────────────────────────────────────────

TRIED = tuple(
    Settings(instances, threads, max_batch, delay_us)
    for (instances, threads), max_batch, delay_us in itertools.product(((1, 2), (2, 1)), (8, 16, 32), (0, 2000, 10000))
)


def sweep(model: str, form: str, home: Path, seconds: float) -> dict[str, Any]:
    """Every setting at 8 and 32 callers, each in a server of its own; the best has the most calls a second over both."""
    from benchmarks import inputs
    from benchmarks.field import keep, measured
    from benchmarks.scenarios import closed_order
    from model_zoo.store import Store

    seen: list[dict[str, Any]] = []
    with module("client") as client:
        keep(client, f"triton {model}", inputs.messages(inputs.task_of(model, Store(home)), form))
        for settings in TRIED:
            with Triton([model], form, home, settings) as server:
                answers = {c: measured(client, server, closed_order(server, model, c, seconds)) for c in (8, 32)}
            seen.append({**asdict(settings), **{f"calls_s at {c}": a["calls_s"] for c, a in answers.items()}})
            seen[-1]["p99_ms at 32"] = answers[32]["p99_ms"]
            print(json.dumps(seen[-1]), flush=True)
    return {"best": max(seen, key=lambda one: one["calls_s at 8"] * one["calls_s at 32"]), "seen": seen}


def main() -> None:
    """See the module."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))  # so that whoever was started is ended
    from benchmarks.run import home

    parser = argparse.ArgumentParser(description="Finds Triton's best settings on this machine.")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--model", action="append", help="may be repeated; default: both that are compared")
    arguments = parser.parse_args()
    models = arguments.model or ["efficientnet_lite0", "all_minilm_l6_v2"]
    found = {model: sweep(model, "tensors", home(), arguments.seconds) for model in models}
    out = ROOT / "benchmarks" / "results" / "triton-sweep.json"
    out.write_text(json.dumps(found, indent=1))
    for model, one in found.items():
        print(f"{model}: best {one['best']}")
    print(f"written to {out}; if it differs, change BEST")


if __name__ == "__main__":
    main()
