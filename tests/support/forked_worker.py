"""`python -I -S forked_worker.py SOCKET -m MODULE …`: runs a module in a fork of the preloaded process, not in a new interpreter.

The parent sees a child with its pipes, its exit code and SIGTERM, and the fork holds what this process was given, such as a lock.
Where this process leads a group in the session of its parent, the fork joins the group, so that it is stopped and killed with it,
and it ends when this process does. Where this process leads a session, a kill ends this process alone; the module ends when the
parent closes its standard input, as all children of Zoo do. Imports little, since it is started often.
"""

import json
import os
import signal
import socket
import sys


def main(address: str, *command: str) -> int:
    """Exit code of the module; a signal that ended it ends this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until the module has a process
    given = [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_open(fd)]  # noqa: PTH208 - see below
    reading, writing = os.pipe()
    here = os.getcwd()  # noqa: PTH109 - pathlib would take longer to import than all else
    group = None if os.getsid(0) == os.getpid() else os.getpgid(0)
    order = {"command": command, "cwd": here, "environment": dict(os.environ), "session": group is None, "group": group}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as orders:
        orders.connect(address)
        socket.send_fds(orders, [json.dumps(order).encode()], [writing, *sorted(given)])
        with os.fdopen(reading, encoding="ascii") as status:
            os.closerange(0, 3)  # the module has them; the parent is to see their end
            os.close(writing)
            pid = int(status.readline())
            signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            code = int(status.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:  # it was that of the folder of descriptors
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
