"""Pulls one reference: `python -m service.references.pull_worker`, started by `pull_process.py` alone.

Files of strangers are parsed and converted here, so this process bounds its own memory by what the metadata predicts, and a
library that crashes on a file ends this process alone. See `pull_messages` for its input and output.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from model_zoo import strict_json
from model_zoo.catalog import CARDS
from model_zoo.errors import ConversionFailed, ZooModelError, panics_as_errors
from service.observability.standard_streams import protect
from service.references.footprint import Footprint, Room, megabytes
from service.references.pull_messages import PullOrder, PullReport

if TYPE_CHECKING:
    from service.references.library.forked_library import ForkedLibrary

MARGIN = 1.3
"""Of the prediction, beyond which the process gets no more memory."""
BESIDE = 2 << 30
"""Bytes beside the network: libraries that are imported later, threads, one batch."""
PATIENCE_S = 5.0
"""Time to remove what is half done once the parent has ended."""
MOST_CPU_S = 6 * 3600
"""Of this process. A library that never ends would keep the home locked for ever."""
OUT_OF_MEMORY = ("allocate memory", "MemoryError", "bad_alloc")
"""Parts of the errors of libraries that get no memory."""


class Reports:
    """Writes reports. Any thread may write."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="ascii")
        self._lock = threading.Lock()

    def write(self, report: PullReport) -> None:
        """One line. A reader that is gone ends this process by other means: see `_end_with_parent`."""
        with self._lock, suppress(BrokenPipeError):
            self._file.write(strict_json.text(report) + "\n")
            self._file.flush()


def limit_memory(needed: Footprint) -> None:
    """Bounds the private memory of this process from now on, and that of the processes that it starts."""
    most = data_bytes() + BESIDE + int(MARGIN * needed.pull_memory)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def limit_before_prediction() -> None:
    """Bounds the private memory of this process while configurations are read, until `limit_memory`."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = data_bytes() + BESIDE
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def data_bytes() -> int:
    """Private memory of this process now, in use or set aside; 0 where the system does not say it."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
    return 0


def forked_library(order: PullOrder) -> ForkedLibrary | None:
    """The process of the makers' library, forked once all is imported that both processes need; None where none will be asked."""
    from model_zoo.references.reference import parse_reference

    try:
        reference = parse_reference(order.reference)
    except ZooModelError:
        return None
    known = order.home / CARDS / f"{order.name or reference.model_name}.yaml"
    if order.locked is not None or reference.kind in ("onnx", "torchvision") or known.exists():
        return None
    from service.references.library.forked_library import ForkedLibrary

    import_module("service.references.pull")
    import_module("transformers.pipelines")  # with all that networks, tokenizers and processors need
    return ForkedLibrary.fork() if threading.active_count() == 1 else None


def pull(order: PullOrder, reports: Reports, library: ForkedLibrary | None = None) -> PullReport:
    """Carries out an order. Returns the last report."""
    from model_zoo.references.card_plan import Given
    from model_zoo.references.reference import parse_reference
    from service.references.locked_pull import pull_locked
    from service.references.pull import pull_reference

    predicted: Footprint | None = None

    def progress(done: int, total: int, what: str) -> None:
        reports.write(PullReport(kind="progress", text=what, done=done, total=total))

    def limit(needed: Footprint) -> None:
        nonlocal predicted
        predicted = needed
        limit_memory(needed)

    limit_before_prediction()
    room = Room(order.memory, order.budget, limit)
    try:
        if order.locked is not None:
            pulled = pull_locked(order.locked, order.home, offline=order.offline, room=room, progress=progress)
        else:
            pulled = pull_reference(
                parse_reference(order.reference),
                order.home,
                name=order.name,
                given=Given(order.task, order.labels, order.settings),
                offline=order.offline,
                room=room,
                progress=progress,
                say=lambda line: reports.write(PullReport(kind="line", text=line)),
                ask=library.answers if library else None,
            )
    except (ZooModelError, MemoryError) as error:
        if predicted is not None and _lacked_memory(error):
            reason = f"it takes much more memory than the {megabytes(predicted.pull_memory)} that its metadata predict"
            error = ConversionFailed(order.name or order.reference, reason)
        return PullReport(kind="refused", text=str(error), error=type(error).__name__)
    return PullReport(kind="pulled", text=pulled.card.name, already=pulled.already)


def _lacked_memory(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that memory could not be had."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or any(sign in str(seen) for sign in OUT_OF_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _stop(number: int, frame: FrameType | None) -> None:
    """Ends the pull by an exception, so that what is half done is removed."""
    raise SystemExit(1)


def _end_with_parent() -> None:
    """Ends this process when its parent closes the pipe or ends: first by `_stop`, and at last by force, with its session."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_S)
    os.killpg(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Carries out one order. The exit code is 0 also where it is refused."""
    line = sys.stdin.buffer.raw.readline()  # type: ignore[union-attr]  # unbuffered: `_end_with_parent` reads the rest
    order = strict_json.read_model(PullOrder, line)
    library = forked_library(order)
    os.environ.update(strict_json.parsed_object(sys.stdin.buffer.raw.readline()) or {})  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, name="end-with-parent", daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    reports = Reports(os.dup(1))
    os.dup2(2, 1)  # the output of libraries goes to the log
    protect()
    try:
        with panics_as_errors():
            last = pull(order, reports, library)
    except Exception:
        traceback.print_exc()
        last = PullReport(kind="refused", text="it failed for an unknown reason; ZOO_LOG_LEVEL=debug prints it")
    reports.write(last)
    if library is not None:
        library.end()
    os._exit(0)  # what libraries do at exit has no use here, and the parent's closing of the pipe would interrupt it


if __name__ == "__main__":
    main()
