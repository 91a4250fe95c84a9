"""Eager networks in the processes of lanes give the outputs of the server's process, also after a process has died."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_zoo.cards.card import Card
from model_zoo.network import load_network
from model_zoo.store import Store
from service.runtime.device import DevicePlan
from service.runtime.lanes.processes import (
    FP32_BYTES,
    LEAST_MEMORY,
    PROCESS_MEMORY,
    CannotMove,
    LaneFailed,
    LaneProcesses,
    LaneRuntime,
    ProcessEnded,
    should_use_processes,
)
from service.runtime.network import NetworkRuntime
from tests.support.descriptors import open_descriptors
from tests.support.model_zoo.tiny_model import make_tiny
from tests.support.preloaded_process import PIPE, PreloadedProcess

LANES = 2
PLAN = DevicePlan("cpu", LANES, 1)

pytestmark = [
    pytest.mark.weights,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not should_use_processes(PLAN, LEAST_MEMORY), reason="this system has no memfd_create"),
]


class World:
    """The tiny network, in this process and in those of the lanes."""

    def __init__(self, home: Path, real_home: Path) -> None:
        self.card: Card = make_tiny(home, real_home)
        store = Store(home)
        self.home = home
        self.free = 1 << 40
        self.processes = LaneProcesses(store, PLAN, lambda: self.free)
        self.remote: LaneRuntime = self.processes.open(self.card, "fp32")
        materialised = store.find(self.card)
        assert materialised is not None
        self.local = NetworkRuntime(load_network(self.card, materialised), "cpu")

    @property
    def pids(self) -> list[int]:
        return [process._process.pid for process in self.processes._processes if process._process is not None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, zoo_home: Path, served: Any) -> Iterator[World]:
    served("all_minilm_l6_v2")  # for its tokenizer; skips where it cannot be fetched
    made = World(tmp_path_factory.mktemp("home"), zoo_home)
    yield made
    made.processes.stop()


def tokens(rows: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    mask = (np.arange(length) < random.integers(1, length + 1, (rows, 1))).astype(np.int64)
    return {"input_ids": random.integers(5, 30_000, (rows, length)) * mask, "attention_mask": mask}


def test_batch_in_a_lane_process_gives_the_outputs_of_the_servers_process(world: World) -> None:
    for rows, length in ((1, 1), (1, 12), (3, 17), (8, 256), (2, 3)):
        batch = tokens(rows, length)
        expected, got = world.local.run(batch), world.remote.run(batch)
        assert got.keys() == expected.keys()
        for name in expected:
            assert got[name].dtype == expected[name].dtype
            np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=1e-6)


def test_outputs_own_their_memory(world: World) -> None:
    first = world.remote.run(tokens(2, 5))["embedding"]
    kept = first.copy()
    world.remote.run(tokens(2, 5, seed=1))
    world.remote.run(tokens(2, 5, seed=2))
    np.testing.assert_array_equal(first, kept)
    first[:] = 0.0


def test_concurrent_lanes_get_their_own_outputs(world: World) -> None:
    batches = [tokens(1 + i % 8, 3 + i, seed=i) for i in range(12)]
    expected = [world.local.run(batch)["embedding"] for batch in batches]
    wrong: list[int] = []
    start = threading.Barrier(LANES + 2)

    def lane(offset: int) -> None:
        start.wait()
        for turn in range(30):
            i = (turn * 5 + offset) % len(batches)
            if not np.allclose(world.remote.run(batches[i])["embedding"], expected[i], atol=1e-6):
                wrong.append(i)

    threads = [threading.Thread(target=lane, args=(n,)) for n in range(LANES + 1)]  # one more than there are processes
    for thread in threads:
        thread.start()
    start.wait()
    for thread in threads:
        thread.join(120)
    assert not wrong


def test_error_of_a_network_is_raised_to_the_caller_and_the_process_continues(world: World) -> None:
    before = world.pids
    beyond = {"input_ids": np.full((1, 3), 10**6), "attention_mask": np.ones((1, 3), np.int64)}
    with pytest.raises(LaneFailed, match="IndexError"):
        world.remote.run(beyond)
    assert len(world.remote.run(tokens(2, 4))["embedding"]) == 2
    assert world.pids == before


def test_killed_process_is_restarted_and_the_batch_is_answered(world: World) -> None:
    batch = tokens(3, 9)
    expected = world.local.run(batch)["embedding"]
    before = world.pids
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for _ in range(2 * LANES):
        np.testing.assert_allclose(world.remote.run(batch)["embedding"], expected, atol=1e-6)
    assert set(world.pids) != set(before)


def test_lane_processes_are_outside_the_servers_process_group(world: World) -> None:
    world.processes.open(world.card, "fp32").free()  # restarts the processes that an earlier test killed
    assert os.getpgid(0) not in {os.getpgid(pid) for pid in world.pids}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_to_lane_processes_ends_none(world: World, number: signal.Signals) -> None:
    world.processes.open(world.card, "fp32").free()  # restarts the processes that an earlier test killed
    before = world.pids
    for pid in before:
        os.kill(pid, number)
    assert len(world.remote.run(tokens(2, 4))["embedding"]) == 2
    assert world.processes.held_bytes() > 0  # a request to every process
    assert world.pids == before


def test_network_opened_and_freed_leaves_the_others_loaded(world: World) -> None:
    second = world.processes.open(world.card, "bf16")
    assert (second.precision, second.tier, second.device) == ("bf16", "eager", "cpu")
    assert second.memory_bytes < 0.6 * world.remote.memory_bytes
    assert world.remote.memory_bytes == LANES * world.local.memory_bytes, "each process has its own"
    near = second.run(tokens(2, 6))["embedding"]
    np.testing.assert_allclose(near, world.remote.run(tokens(2, 6))["embedding"], atol=0.05)
    second.free()
    second.free()
    assert second.memory_bytes == 0
    with pytest.raises(RuntimeError, match="freed"):
        second.run(tokens(1, 2))
    assert world.processes.held_bytes() > 0
    assert all(set(process._loaded) <= {world.remote._key} for process in world.processes._processes)
    assert len(world.remote.run(tokens(2, 6))["embedding"]) == 2


def test_network_that_does_not_load_is_rejected_and_the_others_still_run(world: World) -> None:
    broken = world.card.model_copy(update={"keep_in_fp32": ("no.such.module",)})
    with pytest.raises(CannotMove, match="could not be loaded"):
        world.processes.open(broken, "bf16")
    assert len(world.remote.run(tokens(2, 6))["embedding"]) == 2


def test_network_over_the_free_memory_is_rejected(world: World) -> None:
    copies = LANES * world.card.parameters * FP32_BYTES
    world.free = copies - 1
    with pytest.raises(
        CannotMove, match=r"^in the lanes' processes it would take about \d+ MiB, and \d+ MiB of memory are "
    ):
        world.processes.open(world.card, "fp32")
    world.free = copies
    world.processes.open(world.card, "fp32").free()
    world.free = 1 << 40
    fresh = LaneProcesses(Store(world.home), PLAN, lambda: copies + LANES * PROCESS_MEMORY - 1)
    with pytest.raises(CannotMove, match="of memory are free"):
        fresh.open(world.card, "fp32")
    assert not any(process.running for process in fresh._processes), "no process is started"


def test_failed_process_start_leaves_nothing_open(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("service.processes.subprocess.Popen", full)
    processes = LaneProcesses(Store(world.home), PLAN, lambda: None)
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(CannotMove, match="could not be loaded"):
            processes.open(world.card, "fp32")
    assert open_descriptors() == before


SERVER = """
import sys
from pathlib import Path
from model_zoo.cards.card import Card
from model_zoo.store import Store
from service.runtime.device import DevicePlan
from service.runtime.lanes.processes import LaneProcesses
processes = LaneProcesses(Store(Path(sys.argv[1])), DevicePlan("cpu", 2, 1), lambda: None)
processes.open(Card.model_validate_json(sys.stdin.readline()), "fp32")
print(*(process._process.pid for process in processes._processes), flush=True)
sys.stdin.read()
"""


def test_killed_server_leaves_no_lane_process(world: World) -> None:
    with PreloadedProcess(["-c", SERVER, world.home], stdin=PIPE, stdout=PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(world.card.model_dump_json() + "\n")
        server.stdin.flush()
        lanes = [os.pidfd_open(int(pid)) for pid in server.stdout.readline().split()]
        server.kill()
    assert len(lanes) == LANES
    for lane in lanes:
        ended, _, _ = select.select([lane], [], [], 60)
        if not ended:
            signal.pidfd_send_signal(lane, signal.SIGKILL)
        os.close(lane)
        assert ended


def test_network_without_weights_is_rejected(world: World, tmp_path: Path) -> None:
    processes = LaneProcesses(Store(tmp_path), PLAN)
    with pytest.raises(CannotMove, match="left this machine"):
        processes.open(world.card, "fp32")
    assert not any(process.running for process in processes._processes), "no process is started"
    processes.stop()


def test_gpu_single_lane_or_small_machine_uses_no_lane_processes() -> None:
    assert not should_use_processes(DevicePlan("cuda:0", 2, 1), LEAST_MEMORY)
    assert not should_use_processes(DevicePlan("cpu", 1, 2), LEAST_MEMORY)
    assert not should_use_processes(PLAN, LEAST_MEMORY - 1)


def test_stop_fails_waiting_batches_and_leaves_no_process(world: World) -> None:
    """The last test of the module: the others need the processes."""
    pids = world.pids
    assert len(pids) == LANES
    world.processes.stop()
    world.processes.stop()
    with pytest.raises(ProcessEnded):
        world.remote.run(tokens(1, 2))
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
