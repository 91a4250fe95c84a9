"""Run as a script in the process of a worker, before the worker: takes limits and a low priority, then becomes the worker.

    python bootstrap.py PARENT NICENESS LOCK COMMAND…       (LOCK is empty for a prewarmed worker, which learns it later)

The alternative, code between fork and exec in a server with many threads, can deadlock. The script imports nothing but the
standard library and takes some 20 ms.
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
LOWEST_PRIORITY = 19
"""The niceness with which the worker runs on idle cores only."""
OOM_SCORE = "800"
"""Of 1000: where memory runs out, the kernel ends the worker before it ends the server."""


def main(parent: int, niceness: int, lock: str, command: list[str]) -> None:
    """Does not return."""
    # No worker outlives the server, whatever ends it. The kernel sends the signal when the thread ends that started this
    # process: the thread of the server's event loop.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the server has ended")
    with contextlib.suppress(OSError):
        os.nice(niceness)
    with contextlib.suppress(OSError, AttributeError):
        if niceness == LOWEST_PRIORITY:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if lock:
        # Held until the process ends, for whatever reason: a second worker of the job waits for the end of the first.
        lock_file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        os.set_inheritable(lock_file, True)
    os.execv(command[0], command)  # noqa: S606  # the command is the supervisor's own


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
