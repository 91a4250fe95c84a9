"""Seldon's MLServer, over the same protocol as Triton and Zoo, with its adaptive batching."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.participants.process import ParticipantFailed, free_port
from benchmarks.participants.server import Server, models_ready, packages_path
from benchmarks.paths import ROOT
from model_zoo.catalog import Catalog

BIN = ROOT / ".venv-mlserver" / "bin"
SETTINGS = {"parallel_workers": 2, "threads": 1, "max_batch": 8, "batch_time_s": 0.005}


class MLServer(Server):
    """One folder of settings a model."""

    name = "mlserver"
    keeps_deadlines = False

    def __init__(self, models: Sequence[str], form: str, home: Path) -> None:
        if not (BIN / "mlserver").exists():
            raise ParticipantFailed("MLServer is not installed in .venv-mlserver; run: make bench-setup")
        ragged = [m for m in models if form == "tensors" and Catalog.from_package().get(m).batching.length_of]
        if ragged:
            raise ParticipantFailed(f"MLServer does not batch tensors of different lengths, which {ragged[0]} takes")
        self.settings = dict(SETTINGS)
        self._folder = tempfile.TemporaryDirectory(prefix="zoo-bench-mlserver-")
        folder = Path(self._folder.name)
        port = free_port()
        settings = {
            "host": "127.0.0.1",
            "grpc_port": port,
            "http_port": free_port(),
            "metrics_port": free_port(),
            "metrics_endpoint": None,
            "parallel_workers": SETTINGS["parallel_workers"],
            "grpc_max_message_length": -1,
            "debug": False,
            "environments_dir": str(folder / "environments"),
        }
        (folder / "settings.json").write_text(json.dumps(settings))
        for model in models:
            model_folder = folder / model
            model_folder.mkdir()
            shutil.copy(Path(__file__).with_name("mlserver_model.py"), model_folder / "runtime.py")
            model_settings = {
                "name": model,
                "implementation": "runtime.ZooNetwork",
                "max_batch_size": SETTINGS["max_batch"],
                "max_batch_time": SETTINGS["batch_time_s"],
                "parameters": {"extra": {"network": model, "threads": SETTINGS["threads"]}},
            }
            (model_folder / "model-settings.json").write_text(json.dumps(model_settings))
        environment = {
            "ZOO_HOME": str(home),
            "ZOO_BENCH_PATH": packages_path(),
            "OMP_NUM_THREADS": str(SETTINGS["threads"]),
            "MLSERVER_PATH": str(folder),
        }
        super().__init__([str(BIN / "mlserver"), "start", str(folder)], environment, log=self.name)
        self.target = f"127.0.0.1:{port}"
        self.wait_until(lambda: models_ready(self.target, models), "MLServer")

    def __exit__(self, *args: object) -> None:
        super().__exit__(*args)
        self._folder.cleanup()
