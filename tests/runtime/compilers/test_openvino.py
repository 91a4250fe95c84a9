"""Networks in OpenVINO: the precision of single modules, priorities of its threads, no telemetry, and the conversion."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from service.runtime.compilers.compiled_cache import CompiledPackage
from service.runtime.compilers.compiled_manifest import GRAPH, WEIGHTS
from service.runtime.compilers.openvino import OpenVinoLoader, OpenVinoRuntime, options, runtime_precisions
from service.runtime.device import DevicePlan
from service.runtime.lanes.threads import LOADING_NICENESS, NICENESS, lower_priority
from service.runtime.precision import has_instructions

pytest.importorskip("openvino")

from tests.support.runtime.openvino_network import MOST_ROWS, batch, converted, network  # imports the library

PLAN = DevicePlan("cpu", 2, 1)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> CompiledPackage:
    return converted(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("rows", [1, 2, 5, MOST_ROWS])
def test_converted_network_equals_eager_torch_for_all_numbers_of_rows(package: CompiledPackage, rows: int) -> None:
    runtime = OpenVinoRuntime(package, "fp32", PLAN)
    with torch.inference_mode():
        expected = network()(torch.from_numpy(batch(rows)["x"]))
    got = runtime.run(batch(rows))
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_allclose(got[name], tensor.numpy(), rtol=0, atol=1e-5)


@pytest.mark.skipif(not has_instructions("bf16", "cpu"), reason="this processor has no bf16")
def test_modules_kept_in_fp32_run_in_fp32_and_all_others_in_bf16(tmp_path: Path) -> None:
    runtime = OpenVinoRuntime(converted(tmp_path, ("first", "third")), "bf16", PLAN)
    found = {names: p for names, p in runtime_precisions(runtime).items() if "/Convolution" in names and "," in names}
    assert sorted(found.values()) == ["bf16", "f32", "f32"]
    (reduced,) = [names for names, precision in found.items() if precision == "bf16"]
    assert "convolution_1/" in reduced


def test_module_without_a_layer_cannot_be_kept_in_fp32(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no layer of another was found"):
        converted(tmp_path, ("another",))


def test_bf16_weights_are_counted_at_their_size(package: CompiledPackage) -> None:
    size = (package.folder / WEIGHTS).stat().st_size
    assert OpenVinoRuntime(package, "fp32", PLAN).memory_bytes == size
    runtime = OpenVinoRuntime(package, "bf16", PLAN)
    assert runtime.memory_bytes == size // 2
    runtime.free()
    assert runtime.memory_bytes == 0


@pytest.mark.parametrize("damage", [GRAPH, WEIGHTS, "outputs"])
def test_damaged_network_raises_an_error_of_loading(package: CompiledPackage, tmp_path: Path, damage: str) -> None:
    for name in (GRAPH, WEIGHTS):
        (tmp_path / name).write_bytes((package.folder / name).read_bytes()[: 100 if name == damage else None])
    outputs = ("logits",) if damage == "outputs" else package.outputs
    with pytest.raises((RuntimeError, OSError)):
        OpenVinoRuntime(CompiledPackage(tmp_path, {}, ("x",), outputs, 1.0), "fp32", PLAN)


def test_streams_are_as_many_as_lanes_and_are_not_pinned() -> None:
    found = options("bf16", DevicePlan("cpu", 3, 2))
    assert (found["NUM_STREAMS"], found["INFERENCE_NUM_THREADS"], found["ENABLE_CPU_PINNING"]) == (3, 6, False)


def niceness() -> dict[int, int]:
    """The niceness of every thread of this process."""
    stats = {int(task.name): (task / "stat").read_text() for task in Path("/proc/self/task").iterdir()}
    return {thread: int(stat.rpartition(")")[2].split()[16]) for thread, stat in stats.items()}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere priorities belong to processes")
def test_threads_of_openvino_have_the_priority_of_the_lanes(package: CompiledPackage) -> None:
    """Whatever the priority of the thread that has the network loaded."""
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    if own > NICENESS:
        pytest.skip("the tests run at a lower priority than lanes")
    loader = OpenVinoLoader(PLAN)
    before = {*niceness()}
    runtimes: list[object] = []

    def load() -> None:
        lower_priority(LOADING_NICENESS)
        runtime = loader.load(package, "fp32")
        runtime.run(batch(2))
        runtimes.append(runtime)
        new = {thread: nice for thread, nice in niceness().items() if thread not in before}
        new.pop(threading.get_native_id())
        runtimes.append(new)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    _, threads = runtimes
    assert threads
    assert {*threads.values()} == {NICENESS}  # type: ignore[attr-defined]


def test_telemetry_is_not_imported() -> None:
    code = (
        "from service.runtime.compilers.openvino import openvino; openvino(); import sys;"
        "print(sys.modules['openvino_telemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"
