"""The worker process: `python -m service.training.worker JOBFOLDER`. With `--wait` it reads the folder from stdin.

    spec.json ──► WorkOrder ──► one of the methods ──► result/

The worker sends messages as JSON lines on stdout and receives commands on stdin: see `protocol.py`. Its exit code is 0 whenever
it could send its final message: Finished, Stopped or Failed. It uses neither the database nor the network.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import resource
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from service.observability.standard_streams import protect
from service.training.failures import OUT_OF_MEMORY, failure_reason
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
    SendMessage,
    Stopped,
    WorkerMessage,
    encode_message,
)
from service.training.stop_signal import StopRequested, StopSignal

if TYPE_CHECKING:
    from service.training.artifacts.tracking import Tracker

HEARTBEAT_S = 2.0
MEMORY_CHECK_S = 0.25
"""Between two checks of the resident memory."""

log = logging.getLogger(__name__)


class MessageWriter:
    """Writes messages to a stream, one JSON object a line, from any thread. A broken pipe means that the supervisor is gone: it
    counts as `pause`."""

    def __init__(self, stream: IO[str], stop: StopSignal) -> None:
        self._stream = stream
        self._stop = stop
        self._lock = threading.Lock()
        self._closed = False
        self._not_finite: set[str] = set()
        self.tracker: Tracker | None = None

    def __call__(self, message: WorkerMessage) -> None:
        """Writes the message at once. Messages after Finished, Stopped or Failed are dropped.

        JSON has neither NaN nor infinity: a metric that is not finite is reported once, as a warning.
        """
        if isinstance(message, Metric):
            if self.tracker is not None:
                self.tracker.metric(message)
            if not math.isfinite(message.value):
                self._warn_not_finite(message)
                return
        elif isinstance(message, CheckpointWritten | Finished):
            finite = {name: value for name, value in message.metrics.items() if math.isfinite(value)}
            message = message.model_copy(update={"metrics": finite})
        self._write(message)

    def _warn_not_finite(self, metric: Metric) -> None:
        name = f"{metric.split}/{metric.name}"
        if name not in self._not_finite:
            self._not_finite.add(name)
            self._write(Log(level="warning", text=f"{name} has no value at step {metric.step}: it is {metric.value}"))

    def _write(self, message: WorkerMessage) -> None:
        line = encode_message(message)
        with self._lock:
            if self._closed:
                return
            self._closed = isinstance(message, FINAL_MESSAGES)
            try:
                self._stream.write(f"{line}\n")
                self._stream.flush()
            except (OSError, ValueError):  # the pipe is broken, or closed
                self._stop.pause.set()


def resident_mib() -> float:
    """Memory that this process holds now."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux: the peak instead, which macOS gives in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return pages * resource.getpagesize() / 2**20


def send_heartbeats(send: SendMessage, memory_mib: int, ended: threading.Event) -> None:
    """Sends heartbeats until `ended`, and ends the process if it holds more than `memory_mib`. Runs in a thread.

    The limit counts resident memory: the operating system's limits count addresses, and torch reserves many more than it uses.
    """
    waited = HEARTBEAT_S
    while True:
        resident = resident_mib()
        if memory_mib and resident > memory_mib:
            send(Failed(reason=f"{OUT_OF_MEMORY} (the job may hold {memory_mib} MiB)"))
            os._exit(0)
        if waited >= HEARTBEAT_S:
            send(Heartbeat(resident_mib=round(resident, 1)))
            waited = 0.0
        if ended.wait(MEMORY_CHECK_S):
            return
        waited += MEMORY_CHECK_S


def run_method(order: WorkOrder, folder: Path, send: MessageWriter, stop: StopSignal) -> None:
    """Runs the order's method. Imports only the modules of that method: a head trains in seconds, and imports cost as much."""
    from service.training.artifacts.tracking import Tracker
    from service.training.data.seeds import make_deterministic

    make_deterministic(order.threads, order.spec.seed)
    send.tracker = Tracker(order, folder)
    try:
        match order.spec.method, order.spec.task:
            case Method.HEAD | Method.FULL | Method.LORA, "token-classification":
                from service.training.methods.token_classification import train_tokens

                train_tokens(order, folder, send, stop)
            case Method.FULL, "object-detection":
                from service.training.methods.object_detection import train_detector

                train_detector(order, folder, send, stop)
            case Method.FULL, "image-segmentation":
                from service.training.methods.segmentation import train_segmenter

                train_segmenter(order, folder, send, stop)
            case Method.HEAD, _:
                from service.training.methods.head import train_head

                train_head(order, folder, send, stop)
            case Method.FULL, "text-generation":
                from service.training.methods.language_model import train_language_model

                train_language_model(order, folder, send, stop)
            case Method.FULL, "tabular-classification" | "tabular-regression":
                from service.training.methods.tabular import train_table

                train_table(order, folder, send, stop)
            case Method.FULL, "time-series-forecasting":
                from service.training.methods.forecasting import train_series

                train_series(order, folder, send, stop)
            case Method.FULL | Method.LORA, _:
                from service.training.methods.full import train_network

                train_network(order, folder, send, stop)
            case method, _:
                raise ValueError(f"an order must name its method, got {method}")
    finally:
        send.tracker.close()


def wait_for_assignment() -> Path | None:
    """Imports the slow modules, then waits for the folder of a job; None if stdin ends before one comes."""
    import torch

    from service.training.data.seeds import make_deterministic

    make_deterministic(torch.get_num_threads(), seed=0)
    weight = torch.zeros(1, requires_grad=True)
    torch.optim.SGD([weight], lr=0.0).step()  # the first step of any optimizer imports torch's compiler
    line = sys.stdin.buffer.readline()  # bytes: a path may hold bytes that the console's encoding does not know
    if not line:
        return None
    assignment = Assignment.model_validate_json(line)
    # Never closed: the lock is held until the process ends, however it ends.
    fcntl.flock(os.open(assignment.lock, os.O_RDWR | os.O_CREAT, 0o600), fcntl.LOCK_EX)
    return assignment.folder


def main(folder: Path) -> None:
    """Runs one job, from its order to the final message."""
    stop = StopSignal()
    send = MessageWriter(_take_stdout(folder), stop)
    ended = threading.Event()
    order: WorkOrder | None = None
    try:
        order = WorkOrder.model_validate_json((folder / "spec.json").read_bytes())
        if order.traceparent:
            # Where OpenTelemetry's specification has processes look for the trace that they continue.
            os.environ["TRACEPARENT"] = order.traceparent
            log.info("the job's trace is %s", order.traceparent)
        threading.Thread(target=stop.listen, args=(sys.stdin,), name="listener", daemon=True).start()
        heartbeat = threading.Thread(
            target=send_heartbeats, args=(send, order.memory_mib, ended), name="heartbeat", daemon=True
        )
        heartbeat.start()
        run_method(order, folder, send, stop)
    except StopRequested:
        send(Stopped())
    except BaseException as error:
        log.exception("the job failed")
        send(Failed(reason=failure_reason(error, order)))
    finally:
        ended.set()


def _take_stdout(folder: Path) -> IO[str]:
    """A stream on the real stdout, for messages alone. What libraries print, on stdout or stderr, goes to the worker's log."""
    messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    try:
        log_file = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        log_file = os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(log_file, 1)
    os.dup2(log_file, 2)
    os.close(log_file)
    protect()  # a log that cannot be written never fails a job
    logging.raiseExceptions = False
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s", level=logging.INFO)
    return messages


if __name__ == "__main__":
    # Threads that wait for each other must sleep, not spin: served models need the cores first. torch reads this when imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    job_folder = wait_for_assignment() if sys.argv[1] == WAIT else Path(sys.argv[1])
    if job_folder is not None:
        main(job_folder)
    sys.stderr.flush()
    # Threads that wait in native code, and the thread that reads stdin, must not delay the end of the process.
    os._exit(0)
