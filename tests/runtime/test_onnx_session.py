"""A session of ONNX Runtime as a runtime of the server."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from service.runtime.onnx_session import OnnxRuntime, threads_for
from service.runtime.oom import is_out_of_memory
from tests.support.references.onnx_files import product, saved

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return saved(product(), tmp_path / "model.onnx")


def test_callers_at_once_get_their_own_outputs(path: Path) -> None:
    runtime = OnnxRuntime(path, "cpu", 2)
    expected = runtime.run({"x": X})["y"]
    with ThreadPoolExecutor(8) as lanes:
        found = list(lanes.map(lambda i: runtime.run({"x": X[i : i + 1]})["y"][0], [*range(6)] * 50))
    np.testing.assert_allclose(found, np.tile(expected, (50, 1)), atol=1e-6)


def test_callers_may_use_other_names_than_the_graph(path: Path) -> None:
    renamed = OnnxRuntime(path, "cpu", 1, names={"pixels": "x", "logits": "y"})
    found = renamed.run({"pixels": X})
    assert [*found] == ["logits"]
    np.testing.assert_array_equal(found["logits"], OnnxRuntime(path, "cpu", 1).run({"x": X})["y"])


def test_arrays_of_any_layout_are_taken(path: Path) -> None:
    runtime = OnnxRuntime(path, "cpu", 1)
    read_only = np.frombuffer(X.tobytes(), np.float32).reshape(X.shape)
    for given in (np.asfortranarray(X), X[::-1][::-1], read_only):
        np.testing.assert_array_equal(runtime.run({"x": given})["y"], runtime.run({"x": X})["y"])


def test_freed_network_has_no_memory_and_does_not_run(path: Path) -> None:
    runtime = OnnxRuntime(path, "cpu", 1)
    assert runtime.memory_bytes == path.stat().st_size
    runtime.free()
    assert runtime.memory_bytes == 0
    with pytest.raises(RuntimeError, match="freed"):
        runtime.run({"x": X})


def test_exhausted_memory_is_recognised(path: Path) -> None:
    runtime = OnnxRuntime(path, "cpu", 1)

    class Exhausted:
        def run(self, *_: object) -> None:
            raise ValueError("[ONNXRuntimeError] : Failed to allocate memory for requested buffer of size 123")

    runtime._session = Exhausted()
    with pytest.raises(MemoryError) as raised:
        runtime.run({"x": X})
    assert is_out_of_memory(raised.value)


def test_device_without_support_is_reported_as_the_cpu_that_runs_it(path: Path) -> None:
    assert OnnxRuntime(path, "cuda:0", 1).device in ("cpu", "cuda:0")


@pytest.mark.parametrize(("lanes", "threads", "expected"), [(1, 1, 1), (2, 1, 1), (4, 4, 13), (1, 8, 8)])
def test_threads_of_session_and_lanes_are_as_many_as_the_cores(lanes: int, threads: int, expected: int) -> None:
    assert threads_for(lanes, threads) == expected
    assert lanes + threads_for(lanes, threads) - 1 == max(lanes * threads, lanes)


def test_process_that_tries_files_out_imports_no_torch() -> None:
    code = "import service.references.onnx.file_worker, sys; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
