"""Inputs and figures of NVIDIA's perf_analyzer."""

import base64
import json

import numpy as np

from benchmarks.load import inputs, perf_analyzer

REPORT = """Concurrency,Inferences/Second,Client Send,p50 latency,p90 latency,p99 latency
32,251.5,10,120000,150000,190500
"""


def test_input_data_has_each_message_without_the_rows_axis() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    messages = [inputs.tensor_message("m", {"x": array}), inputs.tensor_message("m", {"x": array + 1})]

    data = json.loads(perf_analyzer.input_data(messages))["data"]

    assert [one["x"]["shape"] for one in data] == [[2, 3], [2, 3]]
    assert base64.b64decode(data[1]["x"]["content"]["b64"]) == (array + 1).tobytes()


def test_figures_are_calls_a_second_and_milliseconds() -> None:
    assert perf_analyzer.figures_of(REPORT) == {"calls_s": 251.5, "p50_ms": 120.0, "p99_ms": 190.5, "errors": {}}
