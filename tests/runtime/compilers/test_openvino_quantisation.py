"""A network in int8: its weights are 8-bit integers, and modules that a card keeps in fp32 are not quantised."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.runtime.compilers.compiled_manifest import WEIGHTS
from service.runtime.compilers.openvino import OpenVinoRuntime, runtime_precisions
from service.runtime.device import DevicePlan

pytest.importorskip("openvino")
pytest.importorskip("nncf")

from service.runtime.compilers.openvino_quantisation import quantise
from tests.support.runtime.openvino_network import MOST_ROWS, batch, converted, network

PLAN = DevicePlan("cpu", 2, 1)
CALIBRATION = [{"x": batch(8)["x"][n : n + 1]} for n in range(8)]


def in_int8(network: Any, keep: Collection[str]) -> Any:
    return quantise(network, ["x"], CALIBRATION, keep, transformer=False)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> OpenVinoRuntime:
    return OpenVinoRuntime(converted(tmp_path_factory.mktemp("int8"), (), in_int8), "int8", PLAN)


@pytest.mark.parametrize("rows", [1, 3, MOST_ROWS])
def test_quantised_network_answers_nearly_as_eager_torch(runtime: OpenVinoRuntime, rows: int) -> None:
    with torch.inference_mode():
        expected = network()(torch.from_numpy(batch(rows)["x"]))
    for name, array in runtime.run(batch(rows)).items():
        want = expected[name].numpy()
        cosines = (array * want).sum(1) / np.linalg.norm(array, axis=1) / np.linalg.norm(want, axis=1)
        assert cosines.min() > 0.99


def test_weights_take_a_quarter_of_the_memory(runtime: OpenVinoRuntime, tmp_path: Path) -> None:
    package = converted(tmp_path)
    in_fp32 = (package.folder / WEIGHTS).stat().st_size
    assert runtime.memory_bytes < 0.45 * in_fp32, "beside the weights there are biases and scales"


def test_convolutions_run_in_int8(runtime: OpenVinoRuntime) -> None:
    found = [p for names, p in runtime_precisions(runtime).items() if "/Convolution" in names]
    assert set(found) & {"i8", "u8"}, found


def test_module_kept_in_fp32_is_not_quantised(tmp_path: Path) -> None:
    runtime = OpenVinoRuntime(converted(tmp_path, ("second",), in_int8), "int8", PLAN)
    kept = [
        p for names, p in runtime_precisions(runtime).items() if "convolution_1/" in names and "/Convolution" in names
    ]
    assert kept
    assert set(kept) == {"f32"}
