"""A world without torch networks: a fake task, runtime and loader under the real registry, scheduler, lanes and pipeline.

Texts are numbers: the text "7" is preprocessed to x = 7, and the network answers y = 2 x + 1.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from prometheus_client import CollectorRegistry

from model_zoo.cards.card import Card
from model_zoo.catalog import Catalog
from service.engine.served_model import ServedModel
from service.errors import InvalidInput, ZooError
from service.inference import Inference
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.registry.composition import build_registry
from service.registry.loading.loaded import Loaded, LoadedHead, ModelLoader
from service.registry.loading.memory_ledger import BYTES, MIB
from service.registry.states import ModelState
from service.runtime.device import DevicePlan
from service.runtime.lanes.threads import Lanes
from service.runtime.network import SharedPart
from service.scheduler.scheduler import DeviceScheduler
from service.settings import ModelOptions
from service.tasks.base import Task
from service.types import Answer, Array, Embedding, InferRequest, Instance, Item, Options, Tensors, TextInstance

PATIENCE_S = 20.0


def card(name: str = "adder", **changes: Any) -> Card:
    """A card of a network with one number in and one out."""
    shipped = Catalog.from_package().get("all_minilm_l6_v2").model_dump(mode="json")
    tensor = {"datatype": "FP32", "shape": [-1, 1]}
    own = {
        "name": name,
        "signature": {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]},
        "batching": {"max_batch_size": 4},
    }
    return Card.model_validate(shipped | own | changes)


class FakeTask(Task):
    """Numbers as texts. "bad…" is invalid, "crash" raises what no task should raise."""

    options = frozenset({"threshold"})
    chunk = 2
    raw_types = (TextInstance,)

    def __init__(self, card: Card) -> None:
        super().__init__(card)
        self.gate = threading.Event()
        """Cleared, preprocessing waits for it."""
        self.gate.set()
        self.prepared = 0
        """Raw instances preprocessed so far."""
        self.calls: list[int] = []
        """How many instances each call of preprocess got."""
        self.break_postprocess = False
        self._lock = threading.Lock()

    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        assert self.gate.wait(PATIENCE_S)
        with self._lock:
            self.calls.append(len(instances))
        outcomes = [self._one(instance, path) for instance, path in zip(instances, paths, strict=True)]
        with self._lock:
            self.prepared += len(instances)
        return outcomes

    @staticmethod
    def _one(instance: Instance, path: str) -> Item | ZooError:
        assert isinstance(instance, TextInstance)
        text = instance.data.decode()
        if text == "crash":
            raise RuntimeError("a foreign text with /a/path")
        if text.startswith("bad"):
            return InvalidInput(path, f"expected a number, got {text!r}")
        return Item({"x": np.array([float(text)], np.float32)}, notes={"text": text})

    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        if self.break_postprocess:
            raise RuntimeError("a foreign text with /a/path")
        return Embedding(np.asarray(row["y"], np.float32))

    def golden_instance(self, given: object) -> Instance:
        raise NotImplementedError

    def golden_problem(self, expect: object, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        raise NotImplementedError


class FakeRuntime:
    """y = 2 x + 1. Fails any batch that holds a value of `poison`; loses the last row while `short` is set."""

    device = "cpu"
    precision = "fp32"
    tier = "eager"
    compiler = ""
    shared: SharedPart | None = None

    def __init__(self, held_bytes: int = 4096) -> None:
        self.held_bytes = held_bytes
        self.gate = threading.Event()
        """Cleared, batches wait for it inside the device."""
        self.gate.set()
        self.batches: list[list[float]] = []
        """Values of every batch that entered the device."""
        self.poison: set[float] = set()
        self.short = False
        self.freed = False

    @property
    def memory_bytes(self) -> int:
        return 0 if self.freed else self.held_bytes

    def run(self, tensors: Tensors) -> dict[str, Array]:
        values = tensors["x"][:, 0].tolist()
        assert not self.freed, "a batch began on a network that was freed"
        self.batches.append(values)
        assert self.gate.wait(PATIENCE_S)
        if self.poison & set(values):
            raise RuntimeError("CUDA error in /a/path")
        out = np.asarray(tensors["x"]) * np.float32(2) + np.float32(1)
        return {"y": out[:-1] if self.short else out}

    def free(self) -> None:
        self.freed = True


class FakeLoader:
    """Gives a FakeTask and a FakeRuntime. `gate` cleared, loads wait; `failures` are raised first, one a load."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Semaphore(0)
        self.loads: Counter[str] = Counter()
        self.failures: dict[str, deque[Exception]] = {}
        self.loaded: dict[str, Loaded] = {}
        self.held_bytes: dict[str, int] = {}
        """What the runtime of a model holds; 4096 where nothing is said."""

    def fail(self, name: str, *errors: Exception) -> None:
        self.failures[name] = deque(errors)

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        if precision is not None:  # beside the model's own network
            made = Loaded(FakeTask(card), cast(Any, FakeRuntime(self.held_bytes.get(card.name, 4096))), 0.25)
            made.runtime.precision = precision
            name = f"{card.name}@{precision}"
            self.loads[name] += 1
            if self.failures.get(name):
                raise self.failures[name].popleft()
            self.loaded[name] = made
            return made
        self.loads[card.name] += 1
        self.entered.release()
        assert self.gate.wait(PATIENCE_S)
        if self.failures.get(card.name):
            raise self.failures[card.name].popleft()
        made = Loaded(FakeTask(card), cast(Any, FakeRuntime(self.held_bytes.get(card.name, 4096))), 0.25)
        self.loaded[card.name] = made
        return made

    def load_head(self, card: Card) -> LoadedHead:
        raise NotImplementedError


class LoaderSwitch:
    """A loader that passes every load to the one that a test has put in place."""

    def __init__(self, current: ModelLoader) -> None:
        self.current = current

    def load(self, card: Card, precision: str | None = None) -> Loaded:
        return self.current.load(card) if precision is None else self.current.load(card, precision)

    def load_head(self, card: Card) -> LoadedHead:
        return self.current.load_head(card)


class World:
    """Everything between the wire and the device, and access to each part. Built by `world()`."""

    def __init__(self, cards: Sequence[Card], options: ModelOptions, lanes: int, **registry: Any) -> None:
        self.metrics = CollectorRegistry()
        self.recorder = Recorder(Metrics(self.metrics), Statistics(lambda: 1234))
        self._fake_loader = FakeLoader()
        self._loads = LoaderSwitch(self._fake_loader)
        self.scheduler = DeviceScheduler(asyncio.get_running_loop(), lanes=lanes)
        self.lanes = Lanes(DevicePlan("cpu", lanes, 1), self.scheduler.next_job)
        by_name = {card.name: card for card in cards}
        self.registry = build_registry(
            by_name, lambda _: options, self._loads, self.scheduler, self.recorder, **registry
        )
        self.pool = ThreadPoolExecutor(2, "preprocess")
        self.inference = Inference(self.registry, self.pool, self.recorder)
        self.moves: list[tuple[str, ModelState]] = []
        self.registry.on_change.append(lambda name, state: self.moves.append((name, state)))

    @property
    def loader(self) -> FakeLoader:
        """The fake that loads networks; a test may put another one in its place."""
        return self._fake_loader

    @loader.setter
    def loader(self, loader: FakeLoader) -> None:
        self._fake_loader = self._loads.current = loader

    def load_with(self, loader: ModelLoader) -> None:
        """Has networks loaded by this loader, which is no fake."""
        self._loads.current = loader

    def model(self, name: str = "adder") -> ServedModel:
        return self.registry.resolve(name)

    def task(self, name: str = "adder") -> FakeTask:
        return cast(FakeTask, self.loader.loaded[name].task)

    def runtime(self, name: str = "adder") -> FakeRuntime:
        return cast(FakeRuntime, self.loader.loaded[name].runtime)

    def sample(self, name: str, **labels: str) -> float:
        """A metric's present value; 0 where there is no such series."""
        return self.metrics.get_sample_value(name, labels) or 0.0

    def request(self, *texts: str | Instance, model: str = "adder", **changes: Any) -> InferRequest:
        instances = [TextInstance(text.encode()) if isinstance(text, str) else text for text in texts]
        return InferRequest(model, changes.pop("version", ""), changes.pop("request_id", "r"), instances, **changes)


@asynccontextmanager
async def world(
    *names: str,
    max_batch_size: int = 4,
    max_queue_size: int = 64,
    max_queue_delay_s: float = 0.0,
    lanes: int = 1,
    timeout_s: float = PATIENCE_S,
    load: bool = True,
    mib: Mapping[str, int] | None = None,
    **registry: Any,
) -> AsyncIterator[World]:
    """A running world whose models are loaded unless `load` is false; `registry` goes to the Registry as it is.

    `mib`: models of that many MiB, by their cards and once they are loaded.
    """
    sizes = {name: size * MIB for name, size in (mib or {}).items()}
    cards = [card(name) for name in names or () if name not in sizes]
    cards += [card(name, parameters=size // BYTES["fp32"]) for name, size in sizes.items()]
    cards = cards or [card("adder")]
    options = ModelOptions(
        max_batch_size=max_batch_size,
        max_queue_size=max_queue_size,
        max_queue_delay_ms=max_queue_delay_s * 1000.0,
        default_timeout_ms=timeout_s * 1000.0,
        precision="auto",
        optimize="off",
    )
    made = World(cards, options, lanes, **registry)
    made.loader.held_bytes |= sizes
    made.lanes.start()
    try:
        if load:
            for known in cards:
                await made.registry.load(known.name)
        yield made
    finally:
        for loaded in made.loader.loaded.values():
            cast(FakeRuntime, loaded.runtime).gate.set()
            cast(FakeTask, loaded.task).gate.set()
        made.loader.gate.set()
        await made.registry.close()
        made.scheduler.stop()
        made.lanes.join(timeout_s=PATIENCE_S)
        made.pool.shutdown()
