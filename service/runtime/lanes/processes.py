"""Eager networks in processes of their own, one process a lane. See `process_worker.py` for why, and docs/tiers.md for when.

    lane thread ── arrays into the arena, a line of JSON ──► lane's process: torch ── arrays, a line ──► lane thread

The thread waits in a read meanwhile, which costs the interpreter nothing. A process that dies (killed for its memory, or by an
input that breaks a kernel) is started again; the batch that it died on is tried once more, and then fails as a batch does whose
network raised, so that the scheduler finds the guilty row.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.store import Store
from service.observability.log import logger
from service.processes import ChildProcess
from service.runtime.device import DevicePlan
from service.runtime.free_memory import free_bytes
from service.runtime.lanes.arena import Arena, available
from service.types import Array, Tensors

log = logger(__name__)

LEAST_MEMORY = 4 << 30
"""Bytes of the machine or container. Each process takes about half a GiB for torch, weights and a batch."""
PROCESS_MEMORY = 512 << 20
"""Bytes that must be free for a process that is yet to be started, beside the weights."""
FP32_BYTES = 4
END_S = 5.0
"""How long a process may take to end by itself."""
WORKER = (sys.executable, "-P", "-m", "service.runtime.lanes.process_worker")


class CannotMove(Exception):
    """Why a network stays in the server's own process: one sentence, fit for a client."""


class LaneFailed(RuntimeError):
    """A network raised in a lane's process; the text is the traceback from there, for the log."""


class ProcessEnded(RuntimeError):
    """A lane's process is no more."""


def should_use_processes(plan: DevicePlan, memory_bytes: int) -> bool:
    """Whether lanes of a device gain by processes, and this system can have them: it has `memory_bytes` in all. On a GPU each
    would be a CUDA context more."""
    return plan.name == "cpu" and plan.lanes > 1 and memory_bytes >= LEAST_MEMORY and available()


class LaneProcesses:
    """The processes of one device. None is started before the first network comes. Methods block; any thread may call them."""

    def __init__(self, store: Store, plan: DevicePlan, free: Callable[[], int | None] = free_bytes) -> None:
        """`store` knows the weights; `free` tells the memory that is left, None where it cannot."""
        self.lanes = plan.lanes
        self._store = store
        self._free_bytes = free
        self._workers = [_Worker(plan.threads_per_lane) for _ in range(plan.lanes)]
        self._change = threading.Condition()  # guards the four below
        self._free = [*self._workers]
        self._opened: dict[str, dict[str, Any]] = {}
        self._stopped = False
        self._names = 0

    def open(self, card: Card, precision: str) -> LaneRuntime:
        """A card's network in every lane's process; not of one that needs the files of its base as well. Raises CannotMove."""
        found = self._store.find(card)
        if found is None:
            raise CannotMove("its weights have left this machine")
        self._check_memory(card)
        order = {
            "do": "load",
            "precision": precision,
            "card": card.model_dump(mode="json"),
            "weights": str(found.weights),
        }
        with self._change:
            self._names += 1
            key = order["network"] = f"{card.name}-{self._names}"
            self._opened[key] = order
        held = 0
        try:
            for worker in self._workers:
                with self._borrow(worker):
                    try:
                        held += worker.have(key, order)
                    except ProcessEnded:  # it had died idle, which nobody saw
                        if self._stopped:
                            raise
                        held += worker.have(key, order)
        except (OSError, MemoryError, LaneFailed, ProcessEnded) as error:
            self.close(key)
            log.warning("a network does not load in the lanes' processes", model=card.name, reason=str(error))
            raise CannotMove("it could not be loaded in the lanes' processes; the server's log says why") from error
        return LaneRuntime(self, key, precision, held)

    def _check_memory(self, card: Card) -> None:
        """Raises CannotMove where another copy of a network in every process would find no room. While weights are read they are
        in fp32, whatever they become."""
        weights = card.parameters * FP32_BYTES
        need = sum(weights if worker.runs else weights + PROCESS_MEMORY for worker in self._workers)
        free = self._free_bytes()
        if free is not None and free < need:
            raise CannotMove(
                f"in the lanes' processes it would take about {need >> 20} MiB, and {free >> 20} MiB of memory are free"
            )

    def run(self, key: str, tensors: Tensors) -> dict[str, Array]:
        """One batch, in whichever process is free. Raises LaneFailed, MemoryError, ProcessEnded, OSError."""
        order = self._orders()[key]
        with self._borrow() as worker:
            try:
                worker.have(key, order)
                return worker.run(key, tensors)
            except ProcessEnded:
                if self._stopped:
                    raise
                log.warning("a lane's process ended and is started again", network=key)
            worker.have(key, order)
            return worker.run(key, tensors)

    def close(self, key: str) -> None:
        """Forgets a network. Returns at once; the processes let go of it as they become free."""
        with self._change:
            self._opened.pop(key, None)
        threading.Thread(target=self._tidy, name="lanes-tidy", daemon=True).start()

    def held_bytes(self) -> int:
        """Private memory of all processes, once each has let go of what was closed. Waits for the batches that run."""
        held = 0
        for worker in self._workers:
            with suppress(ProcessEnded, LaneFailed), self._borrow(worker):
                if worker.runs:
                    worker.tidy(self._orders())
                    held += int(worker.ask({"do": "held"})["bytes"] or 0)
        return held

    def stop(self) -> None:
        """Ends the processes. Idempotent; batches in them fail."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        for worker in self._workers:
            worker.kill()
        with self._change:  # whoever waits for an answer hears at once that there will be none
            self._change.wait_for(lambda: len(self._free) == len(self._workers), END_S)
        for worker in self._workers:
            worker.end()

    def _tidy(self) -> None:
        for worker in self._workers:
            with suppress(ProcessEnded, LaneFailed), self._borrow(worker):
                worker.tidy(self._orders())

    def _orders(self) -> dict[str, dict[str, Any]]:
        with self._change:
            return dict(self._opened)

    @contextmanager
    def _borrow(self, wanted: _Worker | None = None) -> Iterator[_Worker]:
        """A process for the caller alone: `wanted`, or whichever is free first."""
        with self._change:
            while not self._stopped and not (wanted in self._free if wanted is not None else self._free):
                self._change.wait()
            if self._stopped:
                raise ProcessEnded("the server shuts down")
            worker = self._free[-1] if wanted is None else wanted  # the one used last: its caches are warm
            self._free.remove(worker)
        try:
            yield worker
        finally:
            with self._change:
                self._free.append(worker)
                self._change.notify_all()


class LaneRuntime:
    """An eager network that runs in the lanes' processes; the same face as `NetworkRuntime`."""

    tier = "eager"
    device = "cpu"
    shared = None

    def __init__(self, processes: LaneProcesses, key: str, precision: str, memory_bytes: int) -> None:
        self._processes: LaneProcesses | None = processes
        self._key = key
        self.precision = precision
        self._bytes = memory_bytes

    @property
    def memory_bytes(self) -> int:
        """Bytes of weights and buffers, of which each process has its own; 0 after `free`."""
        return self._bytes if self._processes is not None else 0

    def run(self, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch. Inputs and outputs share the leading rows axis; the outputs own their memory."""
        processes = self._processes
        if processes is None:
            raise RuntimeError("the network was freed")
        return processes.run(self._key, tensors)

    def free(self) -> None:
        """Lets go of the weights, as soon as the batches that run have ended."""
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.close(self._key)


class _Worker:
    """One process and what it holds. Belongs to whoever borrowed it."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: ChildProcess | None = None
        self._arena: Arena | None = None
        self._loaded: dict[str, int] = {}

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def have(self, key: str, order: Mapping[str, Any]) -> int:
        """Has the process hold a network, and starts it where there is none. Gives the network's bytes.

        After a restart each network comes back with its own next batch, so that none waits for, or fails with, another.
        """
        if self._process is None:
            self._start()
        if key not in self._loaded:
            self._loaded[key] = int(self.ask(order)["bytes"])
        return self._loaded[key]

    def tidy(self, orders: Mapping[str, object]) -> None:
        """Has the process let go of what is in none of the `orders`."""
        for key in [key for key in self._loaded if key not in orders]:
            del self._loaded[key]
            self.ask({"do": "free", "network": key})

    def run(self, key: str, tensors: Tensors) -> dict[str, Array]:
        """See LaneProcesses.run."""
        assert self._arena is not None
        answer = self.ask({"do": "run", "network": key, "inputs": self._arena.write(tensors)})
        return {name: np.array(view) for name, view in self._arena.views(answer["outputs"]).items()}

    def ask(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """One line there, one back. Raises ProcessEnded, after which there is no process; LaneFailed; MemoryError."""
        process = self._process
        if process is None:
            raise ProcessEnded("there is no process")
        try:
            process.write_line(strict_json.text(order).encode())
            answer: dict[str, Any] = strict_json.read(process.read_line() or b"")
        except (OSError, ValueError):
            self.end()
            raise ProcessEnded(f"exit code {process.returncode}") from None
        if "error" in answer:
            if answer["out_of_memory"]:
                raise MemoryError("in a lane's process")
            raise LaneFailed(answer["error"])
        return answer

    def _start(self) -> None:
        arena = Arena()
        command = (*WORKER, str(arena.handle), str(self._threads))
        try:
            # Its session is its own: a signal to the server's group must not find it before it can ignore that signal.
            self._process = ChildProcess.start(command, pass_fds=(arena.handle,))
        except OSError:
            arena.close()
            raise
        self._arena, self._loaded = arena, {}

    def kill(self) -> None:
        """Ends the process under whoever borrowed it. From any thread."""
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Ends the process, if there is one, and leaves nothing of it."""
        process, self._process = self._process, None
        arena, self._arena = self._arena, None
        if process is not None:
            process.end(END_S)
        if arena is not None:
            arena.close()
