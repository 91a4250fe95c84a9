"""LitServe, over HTTP and JSON, its only protocol."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.participants.process import ParticipantFailed, free_port
from benchmarks.participants.server import Server, packages_path
from benchmarks.paths import ROOT
from service.pb import open_inference_pb2 as pb

PYTHON = ROOT / ".venv-litserve" / "bin" / "python"
SETTINGS = {"workers": 2, "threads": 1, "max_batch": 8, "batch_timeout_s": 0.005, "fast_queue": False}


class LitServe(Server):
    """One model, workers of one torch thread each."""

    name = "litserve"
    protocol = "http"
    keeps_deadlines = False

    def __init__(self, models: Sequence[str], form: str, home: Path) -> None:
        if not PYTHON.exists():
            raise ParticipantFailed("LitServe is not installed in .venv-litserve; run: make bench-setup")
        if len(models) > 1:
            raise ParticipantFailed("LitServe serves one network here")
        self.settings = dict(SETTINGS)
        port = free_port()
        app = str(Path(__file__).with_name("litserve_app.py"))
        environment = {"ZOO_HOME": str(home), "ZOO_BENCH_PATH": packages_path(), "OMP_NUM_THREADS": "1"}
        super().__init__(
            [str(PYTHON), "-P", app, models[0], str(port), json.dumps(SETTINGS)], environment, log=self.name
        )
        self.target = f"127.0.0.1:{port}"
        self.wait_until(lambda: _healthy(self.target), "LitServe")

    def message(self, request: bytes) -> bytes:
        """The same tensors or text as JSON."""
        parsed = pb.ModelInferRequest.FromString(request)
        raw = dict(zip((tensor.name for tensor in parsed.inputs), parsed.raw_input_contents, strict=True))
        if "text" in raw:
            return json.dumps({"text": raw["text"][4:].decode()}).encode()
        return json.dumps({"tensors": {name: base64.b64encode(data).decode() for name, data in raw.items()}}).encode()

    def answer(self, message: bytes) -> NDArray[np.float32]:
        """See Server."""
        request = urllib.request.Request(f"http://{self.target}/predict", message, {"Content-Type": "application/json"})
        with _direct().open(request, timeout=60) as page:
            return np.frombuffer(base64.b64decode(json.loads(page.read())["output"]), np.float32)


def _direct() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _healthy(target: str) -> bool:
    try:
        with _direct().open(f"http://{target}/health", timeout=5) as page:
            return bool(page.status == 200)
    except OSError:
        return False
