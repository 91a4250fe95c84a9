"""KServe's Python gRPC client, unmodified, and its own messages for load and unload."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.stock_clients.triton_calls import CNN, RNN
from tests.support.end_to_end.server_process import EXAMPLES, TIMEOUT_S, ServerProcess


@pytest.fixture(scope="module")
def seen(server: ServerProcess) -> dict[str, Any]:
    script = Path(__file__).with_name("kserve_calls.py")
    command = [sys.executable, str(script), server.target, str(EXAMPLES / "cat.jpg")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_kserve_client_sees_server_live_and_ready(seen: dict[str, Any]) -> None:
    assert (seen["live"], seen["ready"], seen["model ready"], seen["unknown model ready"]) == (True, True, True, False)


def test_kserve_client_gets_cat_for_a_cat_photo(seen: dict[str, Any]) -> None:
    assert seen["cat"].pop("best") in (281, 282, 285)
    assert seen["cat"] == {"id": "cat", "model": CNN, "version": "1", "output": "logits", "shape": [1, 1000]}


def test_kserve_typed_texts_and_raw_tensors_are_answered(seen: dict[str, Any]) -> None:
    assert seen["likeness"] > 0.5
    assert seen["sound"]["frames"] == [[2], [2]]
    assert [len(row) for row in seen["sound"]["probabilities"]] == [2, 2]


def test_kserve_error_names_the_field(seen: dict[str, Any]) -> None:
    code, message = seen["refusal"]
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("inputs[0].name: expected 'samples' FP32")


def test_kserve_client_reads_metadata(seen: dict[str, Any]) -> None:
    assert seen["server"][0] == "zoo"
    assert seen["metadata"] == [CNN, ["1"], [["pixel_values", "FP32", [-1, 3, 224, 224]]]]


def test_kserve_load_and_unload_requests_are_accepted(seen: dict[str, Any]) -> None:
    assert seen["unloaded"] == [RNN, True, False]
    assert seen["loaded"] == [RNN, True, True]
