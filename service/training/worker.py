"""The worker process: `python -m service.training.worker JOBFOLDER`, or `--wait` for one that is told its folder later.

    spec.json ──► WorkOrder ──► one of the methods ──► result/

It says what happens as JSON lines on stdout, and is told what to do by words on stdin (`job_spec.py` has both). Its exit code
is 0 whenever it could say how it ended: Finished, Stopped or Failed. It asks nobody: no database, no network.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from service.observability.standard_streams import protect
from service.training.failures import OUT_OF_MEMORY, sentence
from service.training.job_spec import Method, WorkOrder
from service.training.protocol import (
    FINAL_MESSAGES,
    WAIT,
    Assignment,
    CheckpointWritten,
    Failed,
    Finished,
    Heartbeat,
    Log,
    Metric,
    Stopped,
    WorkerMessage,
    encode_message,
)
from service.training.stop_signal import StopRequested, StopSignal

if TYPE_CHECKING:
    from service.training.artifacts.tracking import Tracker

HEARTBEAT_S = 2.0
LOOK_S = 0.25
"""Between two looks at the memory that is held."""

log = logging.getLogger(__name__)


class MessageWriter:
    """Says things on a stream, one JSON object a line, from any thread. A supervisor that is gone counts as `pause`."""

    def __init__(self, stream: IO[str], told: StopSignal) -> None:
        self._stream = stream
        self._told = told
        self._lock = threading.Lock()
        self._silent = False
        self._without_value: set[str] = set()
        self.tracker: Tracker | None = None

    def __call__(self, said: WorkerMessage) -> None:
        """Says it at once. Nothing may follow Finished, Stopped or Failed.

        JSON knows neither NaN nor infinity: a metric that has no value is told of once, in words.
        """
        if isinstance(said, Metric):
            if self.tracker is not None:
                self.tracker.metric(said)
            if not math.isfinite(said.value):
                name = f"{said.split}/{said.name}"
                if name not in self._without_value:
                    self._without_value.add(name)
                    self._say(Log(level="warning", text=f"{name} has no value at step {said.step}: it is {said.value}"))
                return
        elif isinstance(said, CheckpointWritten | Finished):
            finite = {name: value for name, value in said.metrics.items() if math.isfinite(value)}
            said = said.model_copy(update={"metrics": finite})
        self._say(said)

    def _say(self, said: WorkerMessage) -> None:
        line = encode_message(said)
        with self._lock:
            if self._silent:
                return
            self._silent = isinstance(said, FINAL_MESSAGES)
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):  # the pipe is broken, or closed
                self._told.pause.set()


def resident_mib() -> float:
    """Memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # no Linux: the most it ever held, which is in bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return pages * resource.getpagesize() / 2**20


def live(say: Callable[[WorkerMessage], None], memory_mib: int, ended: threading.Event) -> None:
    """Heartbeats until the end; ends the process where it holds more than it may. Runs in a thread.

    The limit is on what is resident: limits of the operating system count addresses, of which torch reserves many more
    than it uses.
    """
    waited = HEARTBEAT_S
    while True:
        resident = resident_mib()
        if memory_mib and resident > memory_mib:
            say(Failed(reason=f"{OUT_OF_MEMORY} (the job may hold {memory_mib} MiB)"))
            os._exit(0)
        if waited >= HEARTBEAT_S:
            say(Heartbeat(resident_mib=round(resident, 1)))
            waited = 0.0
        if ended.wait(LOOK_S):
            return
        waited += LOOK_S


def work(order: WorkOrder, folder: Path, say: MessageWriter, told: StopSignal) -> None:
    """Does the job. Imports what the method needs and nothing else: seconds count where a head takes few of them."""
    from service.training.artifacts.tracking import Tracker
    from service.training.data.seeds import settle

    settle(order.threads, order.spec.seed)
    say.tracker = Tracker(order, folder)
    try:
        match order.spec.method, order.spec.task:
            case Method.HEAD, _:
                from service.training.methods.head import train_head

                train_head(order, folder, say, told)
            case Method.FULL, "text-generation":
                from service.training.methods.language_model import train_language_model

                train_language_model(order, folder, say, told)
            case Method.FULL, "tabular-classification" | "tabular-regression":
                from service.training.methods.tabular import train_table

                train_table(order, folder, say, told)
            case Method.FULL, "time-series-forecasting":
                from service.training.methods.forecasting import train_series

                train_series(order, folder, say, told)
            case Method.FULL | Method.LORA, _:
                from service.training.methods.full import train_network

                train_network(order, folder, say, told)
            case method, _:
                raise ValueError(f"an order must name its method, got {method}")
    finally:
        say.tracker.close()


def wait() -> Path | None:
    """Imports what takes seconds, then waits to be told a job's folder; None where nobody has one."""
    import torch

    from service.training.data.seeds import settle

    settle(torch.get_num_threads(), seed=0)
    weight = torch.zeros(1, requires_grad=True)
    torch.optim.SGD([weight], lr=0.0).step()  # the first step of any optimizer imports torch's compiler
    line = sys.stdin.buffer.readline()  # bytes, since a path may hold what the console's encoding does not know
    if not line:
        return None
    assignment = Assignment.model_validate_json(line)
    # Not closed: held until the process ends, by itself or not.
    fcntl.flock(os.open(assignment.lock, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
    return assignment.folder


def main(folder: Path) -> None:
    """From the order to the last word."""
    told = StopSignal()
    say = MessageWriter(_take_stdout(folder), told)
    ended = threading.Event()
    order: WorkOrder | None = None
    try:
        order = WorkOrder.model_validate_json((folder / "spec.json").read_bytes())
        threading.Thread(target=told.listen, args=(sys.stdin,), name="listener", daemon=True).start()
        beat = threading.Thread(target=live, args=(say, order.memory_mib, ended), name="heartbeat", daemon=True)
        beat.start()
        work(order, folder, say, told)
    except StopRequested:
        say(Stopped())
    except BaseException as error:
        log.exception("the job failed")
        say(Failed(reason=sentence(error, order)))
    finally:
        ended.set()


def _take_stdout(folder: Path) -> IO[str]:
    """stdout for what is said; what libraries print goes to the worker's log, stdout and stderr alike."""
    spoken = os.fdopen(os.dup(1), "w", encoding="utf-8")
    try:
        written = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        written = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(written, 1)
    os.dup2(written, 2)
    os.close(written)
    protect()  # a log without room, or without a disk, fails no job
    logging.raiseExceptions = False
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    return spoken


if __name__ == "__main__":
    # Threads that wait for each other shall sleep, not spin: the cores are the server's first. Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    wanted = wait() if sys.argv[1] == WAIT else Path(sys.argv[1])
    if wanted is not None:
        main(wanted)
    sys.stderr.flush()
    # Threads that wait in native code, and the listener on stdin, must not hold up the end.
    os._exit(0)
