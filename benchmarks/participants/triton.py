"""NVIDIA Triton with its Python backend and dynamic batching, from PyPI's `nvidia-pytriton`, on the CPU.

Its models run the network that the other peers run, eager fp32 in torch, or the OpenVINO network of the in-process limit.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.participants.openvino_network import openvino_network
from benchmarks.participants.process import ParticipantFailed, free_port
from benchmarks.participants.server import Server, models_ready, packages_path
from benchmarks.paths import ROOT
from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from service.runtime.compilers.compiled_cache import CannotCompile

ENVIRONMENT = ROOT / ".venv-triton"
PACKAGE = (
    ENVIRONMENT / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages" / "pytriton"
)


@dataclass(frozen=True)
class TritonSettings:
    """The settings that a Triton operator chooses."""

    instances: int = 2
    """Processes that run the model."""
    threads: int = 1
    """Torch threads of each."""
    max_batch: int = 8
    delay_us: int = 0
    """Longest wait of the dynamic batcher for a fuller batch."""


BEST = TritonSettings()
"""The best of `triton_sweep` for `efficientnet_lite0` on two cores, and within a twentieth of the best for `all_minilm_l6_v2`.
benchmarks/results/triton-sweep.json holds the sweep (2 seconds each; the last three settings of the second were not tried)."""


class Triton(Server):
    """`tritonserver` with one model directory a network, in a temporary repository."""

    protocol = "grpc"
    pausable = False  # Triton takes a paused stub for dead; while idle it uses almost no processor time

    def __init__(
        self, models: Sequence[str], form: str, home: Path, settings: TritonSettings = BEST, network: str = "eager"
    ) -> None:
        """`network`: eager or openvino. Raises ParticipantFailed."""
        self.name = "triton" if network == "eager" else f"triton-{network}"
        if not PACKAGE.is_dir():
            raise ParticipantFailed(f"Triton is not installed in {ENVIRONMENT.name}; run: make bench-setup")
        self.settings = {**asdict(settings), "network": network}
        described = {model: _openvino(model, home) if network == "openvino" else "" for model in models}
        self._repository = tempfile.TemporaryDirectory(prefix="zoo-bench-triton-")
        folder = Path(self._repository.name)
        for model in models:
            _write_model(folder / "models", model, form, settings, described[model])
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
        super().__init__(command, environment, log=self.name, folder=folder)
        self.target = f"127.0.0.1:{port}"
        self.wait_until(lambda: models_ready(self.target, models), "Triton")

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        self._repository.cleanup()


def _backends(folder: Path) -> Path:
    """The package's Python backend and the stub of this Python, in the folders where Triton looks for them."""
    ours = folder / "backends" / "python"
    shutil.copytree(PACKAGE / "tritonserver" / "backends" / "python", ours)
    # The stub finds its libraries relative to its own path, so it is linked and not copied.
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = PACKAGE / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
    (ours / stub.name).symlink_to(stub)
    (ours / "libtriton_python.so").unlink()
    (ours / "libtriton_python.so").symlink_to(PACKAGE / "tritonserver" / "backends" / "python" / "libtriton_python.so")
    # The stub was built for numpy 1: with numpy 2 its outputs are empty. It starts in this folder, which is first on its path.
    for name in ("numpy", "numpy.libs"):
        (folder / name).symlink_to(PACKAGE.parent / name)
    return folder / "backends"


def _openvino(model: str, home: Path) -> str:
    try:
        return openvino_network(model, home)
    except CannotCompile as error:
        raise ParticipantFailed(str(error)) from None


def _write_model(repository: Path, model: str, form: str, settings: TritonSettings, openvino: str) -> None:
    folder = repository / model
    (folder / "1").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("triton_model.py"), folder / "1" / "model.py")
    card = None if model == "null" else Catalog.from_package().get(model)
    (folder / "config.pbtxt").write_text(_config(model, card, form, settings, openvino))


def _config(model: str, card: Card | None, form: str, settings: TritonSettings, openvino: str) -> str:
    if card is None:
        inputs, outputs = [("x", "TYPE_FP32", "4")], [("y", "TYPE_FP32", "4")]
    else:
        inputs = [(s.name, f"TYPE_{s.datatype}", ", ".join(map(str, s.shape[1:]))) for s in card.signature.inputs]
        outputs = [(s.name, f"TYPE_{s.datatype}", ", ".join(map(str, s.shape[1:]))) for s in card.signature.outputs]
        if form == "raw":
            inputs = [(card.raw_input, "TYPE_STRING", "1")]
    # Ragged: texts of different lengths may share a batch, which model.py pads. Otherwise each length has batches of its own.
    input_entries = [
        f'{{ name: "{n}" data_type: {t} dims: [ {d} ] {"allow_ragged_batch: true" if "-1" in d else ""} }}'
        for n, t, d in inputs
    ]
    output_entries = [f'{{ name: "{n}" data_type: {t} dims: [ {d} ] }}' for n, t, d in outputs]
    parameters = {"network": model, "form": form, "threads": str(settings.threads), "openvino": openvino}
    return "\n".join(
        [
            'backend: "python"',
            f"max_batch_size: {64 if card is None else settings.max_batch}",
            f"input [ {', '.join(input_entries)} ]",
            f"output [ {', '.join(output_entries)} ]",
            f"instance_group [ {{ count: {settings.instances} kind: KIND_CPU }} ]",
            f"dynamic_batching {{ max_queue_delay_microseconds: {settings.delay_us}",
            # A request may state how long it waits; the overload scenario uses it.
            "  default_queue_policy { timeout_action: REJECT allow_timeout_override: true } }",
            *(f'parameters {{ key: "{k}" value: {{ string_value: {json.dumps(v)} }} }}' for k, v in parameters.items()),
        ]
    )
