"""A lane process that dies in the middle of a batch delays the batch, and costs at most the faulty row its answer.

The process is a script of a few lines here; the real one runs networks in test_processes.py.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from model_zoo.cards.card import Card
from model_zoo.store import Store
from service.errors import InternalError
from service.registry.loading.loaded import Loaded
from service.runtime.device import DevicePlan
from service.runtime.lanes import processes as module
from service.runtime.lanes.arena import available
from service.runtime.lanes.processes import LaneProcesses, LaneRuntime, ProcessEnded
from service.types import Prediction
from tests.support.descriptors import open_descriptors
from tests.support.registry.fakes import FakeTask, card, world

pytestmark = pytest.mark.skipif(not available(), reason="this system has no memfd_create")

STORE = cast(Store, SimpleNamespace(find=lambda card: SimpleNamespace(weights=Path("/weights"))))
LANES = 2
ONCE, ALWAYS = 7.0, 13.0
"""A batch that holds such a number kills the process that runs it."""
FRAGILE = f"""
import json, os, signal, sys
from pathlib import Path
from service.runtime.lanes.arena import Arena, end_of

arena, lived = Arena(int(sys.argv[1])), Path(os.environ["LIVED"])
with (lived / "starts").open("a") as starts:
    starts.write("x")
for line in sys.stdin.buffer:
    order = json.loads(line)
    answer = {{"bytes": 4096}}
    if order["do"] == "run":
        inputs = order["inputs"]
        values = arena.views(inputs)["x"]
        first = {ONCE} in values and not (lived / "once").exists()
        if first:
            (lived / "once").touch()
        if first or {ALWAYS} in values:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = {{"outputs": arena.write({{"y": values * 2 + 1}}, end_of(inputs))}}
    print(json.dumps(answer), flush=True)
"""


class Lanes:
    """Two fragile processes and the network in them: y = 2 x + 1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.processes = LaneProcesses(STORE, DevicePlan("cpu", LANES, 1), lambda: None)
        self.runtime: LaneRuntime = self.processes.open(card(), "fp32")

    @property
    def starts(self) -> int:
        return len((self._folder / "starts").read_text())

    def run(self, *values: float) -> list[float]:
        return self.runtime.run({"x": np.array(values, np.float32)[:, None]})["y"][:, 0].tolist()  # type: ignore[no-any-return]


@pytest.fixture
def lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lanes]:
    monkeypatch.setattr(module, "WORKER", (sys.executable, "-c", FRAGILE))
    monkeypatch.setenv("LIVED", str(tmp_path))
    made = Lanes(tmp_path)
    yield made
    made.processes.stop()


def test_batch_whose_process_dies_is_run_once_more_and_answered(lanes: Lanes) -> None:
    assert lanes.starts == LANES
    assert lanes.run(1, ONCE, 3) == [3, 15, 7]
    assert lanes.starts == LANES + 1


def test_batch_whose_process_dies_twice_fails_and_the_next_is_answered(lanes: Lanes) -> None:
    with pytest.raises(ProcessEnded):
        lanes.run(1, ALWAYS)
    assert lanes.starts == LANES + 1, "no third try"
    assert lanes.run(1, 2) == [3, 5]


def test_process_deaths_leave_nothing_open(lanes: Lanes) -> None:
    lanes.run(1, ONCE)
    before = open_descriptors()
    for _ in range(2):
        with pytest.raises(ProcessEnded):
            lanes.run(ALWAYS)
        assert lanes.run(1) == [3]
    assert open_descriptors() == before


@pytest.mark.asyncio
async def test_row_that_kills_its_process_fails_alone(lanes: Lanes) -> None:
    def load(card: Card) -> Loaded:
        return Loaded(FakeTask(card), cast(Any, lanes.runtime), 0.1)

    async with world(load=False) as w:
        cast(Any, w.loader).load = load
        await w.registry.load("adder")
        reply = await asyncio.wait_for(w.inference.infer(w.request("1", "2", str(ALWAYS), "4")), 60)
        values = [float(p.tensors["y"][0]) if isinstance(p, Prediction) else p for p in reply.predictions]
        assert [values[i] for i in (0, 1, 3)] == [3, 5, 9]
        assert isinstance(values[2], InternalError)
