"""Eager networks in processes of their own, one process a lane. `process_worker.py` says why, and docs/tiers.md when.

    lane thread ── arrays into the arena, a line of JSON ──► lane's process: torch ── arrays, a line ──► lane thread

The thread blocks in a read meanwhile, which costs the interpreter nothing. A process that dies (killed for its memory, or by an
input that crashes a kernel) is started again. The batch that it died on is run once more, and then fails like a batch whose
network raised, so that the scheduler isolates the faulty row.
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
"""Bytes that must be free for a process that does not run yet, beside the weights."""
FP32_BYTES = 4
END_S = 5.0
"""How long a process may take to end by itself."""
WORKER = (sys.executable, "-P", "-m", "service.runtime.lanes.process_worker")


class CannotMove(Exception):
    """The reason why a network stays in the server's own process: one sentence for clients."""


class LaneFailed(RuntimeError):
    """A network raised in the process of a lane; the text is the traceback of that process, for the log."""


class ProcessEnded(RuntimeError):
    """The process of a lane has ended."""


def should_use_processes(plan: DevicePlan, memory_bytes: int) -> bool:
    """Whether processes make the lanes of a device faster, and this system of `memory_bytes` in all can have them.

    On a GPU every process would need a CUDA context of its own.
    """
    return plan.name == "cpu" and plan.lanes > 1 and memory_bytes >= LEAST_MEMORY and available()


class LaneProcesses:
    """The processes of one device, started with the first network. Methods block; any thread may call them."""

    def __init__(self, store: Store, plan: DevicePlan, free: Callable[[], int | None] = free_bytes) -> None:
        """`store` has the weights; `free` gives the free memory in bytes, or None where the system does not tell."""
        self.lanes = plan.lanes
        self._store = store
        self._free_bytes = free
        self._processes = [_LaneProcess(plan.threads_per_lane) for _ in range(plan.lanes)]
        self._change = threading.Condition()  # guards the four below
        self._idle = [*self._processes]
        self._load_requests: dict[str, dict[str, Any]] = {}  # by key, of the networks that are open
        self._stopped = False
        self._opened_so_far = 0

    def open(self, card: Card, precision: str) -> LaneRuntime:
        """Loads the network of a card, unless it needs files of a base, in the process of every lane. Raises CannotMove."""
        found = self._store.find(card)
        if found is None:
            raise CannotMove("its weights have left this machine")
        self._check_memory(card)
        request = {
            "do": "load",
            "precision": precision,
            "card": card.model_dump(mode="json"),
            "weights": str(found.weights),
        }
        with self._change:
            self._opened_so_far += 1
            key = request["network"] = f"{card.name}-{self._opened_so_far}"
            self._load_requests[key] = request
        held = 0
        try:
            for process in self._processes:
                with self._borrow(process):
                    try:
                        held += process.ensure_loaded(key, request)
                    except ProcessEnded:  # it died while it was idle
                        if self._stopped:
                            raise
                        held += process.ensure_loaded(key, request)
        except (OSError, MemoryError, LaneFailed, ProcessEnded) as error:
            self.close(key)
            log.warning("a network does not load in the lanes' processes", model=card.name, reason=str(error))
            raise CannotMove("it could not be loaded in the lanes' processes; the server's log says why") from error
        return LaneRuntime(self, key, precision, held)

    def _check_memory(self, card: Card) -> None:
        """Raises CannotMove where memory has no room for another copy of a network in every process.

        Weights are in fp32 while they are read, whatever their precision is afterwards.
        """
        weights = card.parameters * FP32_BYTES
        need = sum(weights if process.running else weights + PROCESS_MEMORY for process in self._processes)
        free = self._free_bytes()
        if free is not None and free < need:
            raise CannotMove(
                f"in the lanes' processes it would take about {need >> 20} MiB, and {free >> 20} MiB of memory are free"
            )

    def run(self, key: str, tensors: Tensors) -> dict[str, Array]:
        """Runs one batch in a process that is idle. Raises LaneFailed, MemoryError, ProcessEnded, OSError."""
        request = self._open_networks()[key]
        with self._borrow() as process:
            try:
                process.ensure_loaded(key, request)
                return process.run(key, tensors)
            except ProcessEnded:
                if self._stopped:
                    raise
                log.warning("a lane's process ended and is started again", network=key)
            process.ensure_loaded(key, request)
            return process.run(key, tensors)

    def close(self, key: str) -> None:
        """Closes a network. Returns at once; each process frees the network when it is idle."""
        with self._change:
            self._load_requests.pop(key, None)
        threading.Thread(target=self._free_closed, name="lanes-free", daemon=True).start()

    def held_bytes(self) -> int:
        """Private memory of all processes in bytes, after each has freed closed networks. Waits for the batches that run."""
        held = 0
        for process in self._processes:
            with suppress(ProcessEnded, LaneFailed), self._borrow(process):
                if process.running:
                    process.free_closed(self._open_networks())
                    held += int(process.request({"do": "held"})["bytes"] or 0)
        return held

    def stop(self) -> None:
        """Ends the processes. Idempotent; batches in them fail."""
        with self._change:
            self._stopped = True
            self._change.notify_all()
        for process in self._processes:
            process.kill()
        with self._change:  # a thread that waits for an answer gets ProcessEnded at once
            self._change.wait_for(lambda: len(self._idle) == len(self._processes), END_S)
        for process in self._processes:
            process.end()

    def _free_closed(self) -> None:
        for process in self._processes:
            with suppress(ProcessEnded, LaneFailed), self._borrow(process):
                process.free_closed(self._open_networks())

    def _open_networks(self) -> dict[str, dict[str, Any]]:
        """The request that loads each open network, by its key."""
        with self._change:
            return dict(self._load_requests)

    @contextmanager
    def _borrow(self, wanted: _LaneProcess | None = None) -> Iterator[_LaneProcess]:
        """A process for the caller alone: `wanted`, or the first that is idle."""
        with self._change:
            while not self._stopped and not (wanted in self._idle if wanted is not None else self._idle):
                self._change.wait()
            if self._stopped:
                raise ProcessEnded("the server shuts down")
            process = self._idle[-1] if wanted is None else wanted  # the one used last: its caches are warm
            self._idle.remove(process)
        try:
            yield process
        finally:
            with self._change:
                self._idle.append(process)
                self._change.notify_all()


class LaneRuntime:
    """An eager network that runs in the lanes' processes; has the interface of `NetworkRuntime`."""

    tier = "eager"
    compiler = ""
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
        """Frees the weights as soon as the batches that run have ended."""
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.close(self._key)


class _LaneProcess:
    """One process, its arena and the networks in it. Belongs to the thread that has borrowed it; `kill` is for any thread."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._process: ChildProcess | None = None
        self._arena: Arena | None = None
        self._loaded: dict[str, int] = {}

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def ensure_loaded(self, key: str, request: Mapping[str, Any]) -> int:
        """Loads a network unless the process has it, and starts the process if there is none. Returns the network's bytes.

        After a restart each network is loaded with its own next batch, so that none waits for, or fails with, another.
        """
        if self._process is None:
            self._start()
        if key not in self._loaded:
            self._loaded[key] = int(self.request(request)["bytes"])
        return self._loaded[key]

    def free_closed(self, open_networks: Mapping[str, object]) -> None:
        """Frees the networks in the process that are open no more."""
        for key in [key for key in self._loaded if key not in open_networks]:
            del self._loaded[key]
            self.request({"do": "free", "network": key})

    def run(self, key: str, tensors: Tensors) -> dict[str, Array]:
        """See LaneProcesses.run."""
        assert self._arena is not None
        answer = self.request({"do": "run", "network": key, "inputs": self._arena.write(tensors)})
        return {name: np.array(view) for name, view in self._arena.views(answer["outputs"]).items()}

    def request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a request, returns its answer. Raises ProcessEnded, after which there is no process; LaneFailed; MemoryError."""
        process = self._process
        if process is None:
            raise ProcessEnded("there is no process")
        try:
            process.write_line(strict_json.text(request).encode())
            answer: dict[str, Any] = strict_json.read(process.read_line() or b"")
        except (OSError, ValueError):
            self.end()
            raise ProcessEnded(f"exit code {process.returncode}") from None
        if "error" in answer:
            if answer["out_of_memory"]:
                raise MemoryError("in the process of a lane")
            raise LaneFailed(answer["error"])
        return answer

    def _start(self) -> None:
        arena = Arena()
        command = (*WORKER, str(arena.handle), str(self._threads))
        try:
            # In a session of its own, so that no signal to the server's group reaches it before it ignores such signals.
            self._process = ChildProcess.start(command, pass_fds=(arena.handle,))
        except OSError:
            arena.close()
            raise
        self._arena, self._loaded = arena, {}

    def kill(self) -> None:
        """Kills the process, borrowed or not. From any thread."""
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Ends the process, if there is one, and releases its arena."""
        process, self._process = self._process, None
        arena, self._arena = self._arena, None
        if process is not None:
            process.end(END_S)
        if arena is not None:
            arena.close()
