"""Networks of every compiler equal eager torch for every batch shape, for concurrent lanes, and are unloaded after use."""

import shutil
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model_zoo.network import load_network
from model_zoo.store import Store
from service.runtime.compilers.compiled_cache import CannotCompile
from service.runtime.compilers.compiler import Compiler
from service.runtime.device import DevicePlan
from service.runtime.network import NetworkRuntime
from tests.support.model_zoo.tiny_model import ONCE_COMPILED, WIDTH, make_tiny

pytestmark = [pytest.mark.weights, pytest.mark.timeout(900)]

LANES = 2


class World:
    """The tiny network, eager and compiled; compiled once for all tests, which takes most of a minute."""

    def __init__(self, home: Path, real_home: Path, compiled: Path, compiler: str) -> None:
        self.name = compiler
        self.card = make_tiny(home, real_home)
        if compiled.is_dir():
            shutil.copytree(compiled, home / "compiled")
        store = Store(home)
        self.compiler = Compiler(home, store, DevicePlan("cpu", LANES, 1))
        self.first = self.compiler.compile(self.card, "fp32", compiler)
        materialised = store.find(self.card)
        assert materialised is not None
        self.eager = NetworkRuntime(load_network(self.card, materialised), "cpu")
        self.compiled: Any = self.first.load()


@pytest.fixture(scope="module", params=["openvino", "aotinductor"])
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, zoo_home: Path, served: Any
) -> Iterator[World]:
    if request.param == "openvino":
        pytest.importorskip("openvino")
    served("all_minilm_l6_v2")  # for its tokenizer; skips if it cannot be fetched
    try:
        yield World(
            tmp_path_factory.mktemp("home"), zoo_home, tmp_path_factory.getbasetemp() / ONCE_COMPILED, request.param
        )
    except CannotCompile as problem:
        pytest.skip(str(problem))


def tokens(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of different lengths, padded to `length`."""
    random = np.random.default_rng(seed)
    mask = (np.arange(length) < random.integers(1, length + 1, (rows, 1))).astype(np.int64)
    return {"input_ids": random.integers(5, 30_000, (rows, length)) * mask, "attention_mask": mask}


@pytest.mark.parametrize("length", [1, 2, 3, 12, 17, 256])
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8])
def test_compiled_network_equals_eager_torch_at_every_shape(made: World, rows: int, length: int) -> None:
    batch = tokens(rows, length)
    expected, got = made.eager.run(batch), made.compiled.run(batch)
    assert got.keys() == expected.keys()
    np.testing.assert_allclose(got["embedding"], expected["embedding"], rtol=0, atol=1e-5)


def test_quantised_network_answers_nearly_as_eager_torch_at_every_shape(made: World) -> None:
    batches = [tokens(1, 5 + seed, seed) for seed in range(16)]
    if made.name != "openvino":
        with pytest.raises(CannotCompile, match="int8 needs the package openvino"):
            made.compiler.compile(made.card, "int8", made.name, lambda: batches)
        return
    pytest.importorskip("nncf")
    prepared = made.compiler.compile(made.card, "int8", made.name, lambda: batches)
    quantised = prepared.load()
    assert quantised.precision == "int8"
    assert quantised.memory_bytes < 0.5 * made.compiled.memory_bytes
    for rows, length in ((1, 1), (3, 12), (8, 17), (2, 256)):
        batch = tokens(rows, length, seed=100)
        expected, got = made.eager.run(batch)["embedding"], quantised.run(batch)["embedding"]
        cosines = (got * expected).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(expected, axis=1)
        assert cosines.min() > 0.95
    assert made.compiler.compile(made.card, "int8", made.name, lambda: batches).cached
    quantised.free()


def test_compiled_runtime_has_tier_device_and_precision(made: World) -> None:
    found = made.compiled.tier, made.compiled.compiler, made.compiled.device, made.compiled.precision
    assert found == ("compiled", made.name, "cpu", "fp32")
    assert made.compiled.memory_bytes >= 30_000 * WIDTH * 4, "the embedding table alone is that large"


def test_compiled_outputs_own_their_memory(made: World) -> None:
    batch = tokens(2, 5)
    first = made.compiled.run(batch)["embedding"]
    kept = first.copy()
    made.compiled.run(tokens(2, 5, seed=1))["embedding"][:] = 7.0
    np.testing.assert_array_equal(first, kept)
    first[:] = 0.0
    np.testing.assert_array_equal(made.compiled.run(batch)["embedding"], kept)


def test_concurrent_lanes_get_their_own_answers(made: World) -> None:
    batches = [tokens(1 + i % 8, 3 + i, seed=i) for i in range(12)]
    expected = [made.eager.run(batch)["embedding"] for batch in batches]
    wrong: list[int] = []
    start = threading.Barrier(LANES + 1)

    def lane(offset: int) -> None:
        start.wait()
        for turn in range(40):
            i = (turn * 5 + offset) % len(batches)
            if not np.allclose(made.compiled.run(batches[i])["embedding"], expected[i], atol=1e-5):
                wrong.append(i)

    threads = [threading.Thread(target=lane, args=(offset,)) for offset in range(LANES + 1)]  # one more than runners
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_compiled_batch_releases_the_interpreter_lock(made: World) -> None:
    """Other threads, above all the event loop, cannot take the lock from a thread that does not release it."""
    batch = tokens(8, 256)
    release, heard = threading.Event(), threading.Event()

    def listen() -> None:
        release.wait()
        heard.set()

    listener = threading.Thread(target=listen)
    listener.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    try:
        release.set()
        for _ in range(1000):  # a thread may need more than one batch to wake up
            made.compiled.run(batch)
            if heard._flag:  # type: ignore[attr-defined]  # is_set() without a call that could release the lock
                break
        else:
            pytest.fail("no other thread got a turn in a thousand batches")
    finally:
        sys.setswitchinterval(interval)
        listener.join()


def test_second_compile_loads_from_disk(made: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.runtime.compilers.compiler.WORKER", (sys.executable, "-c", "raise SystemExit(1)"))
    again = made.compiler.compile(made.card, "fp32", made.name)
    assert again.cached
    assert again.compile_s == made.first.compile_s
    batch = tokens(3, 9)
    np.testing.assert_array_equal(again.load().run(batch)["embedding"], made.compiled.run(batch)["embedding"])
    with pytest.raises(CannotCompile, match="ended before it was done"):
        made.compiler.compile(made.card, "bf16", made.name)  # other code, and no worker to write it


def test_freed_runtime_has_no_memory_and_does_not_run(made: World) -> None:
    runtime = made.compiler.compile(made.card, "fp32", made.name).load()
    runtime.run(tokens(1, 4))
    network = weakref.ref(runtime._compiled if made.name == "openvino" else runtime._network)
    runtime.free()
    assert network() is None
    assert runtime.memory_bytes == 0
    with pytest.raises(RuntimeError, match="was freed"):
        runtime.run(tokens(1, 4))


def test_running_batch_outlives_free(made: World) -> None:
    runtime = made.compiler.compile(made.card, "fp32", made.name).load()
    batch = tokens(2, 6)
    arrays = [batch[name] for name in ("input_ids", "attention_mask")]
    if made.name == "openvino":
        request = runtime._compiled.create_infer_request()
        runtime.free()
        got = request.infer(arrays)[0]
    else:
        network = runtime._network
        runtime.free()
        [tensor] = network.run([torch.from_numpy(array) for array in arrays])
        got = tensor.numpy()
    np.testing.assert_allclose(got, made.eager.run(batch)["embedding"], atol=1e-5)
