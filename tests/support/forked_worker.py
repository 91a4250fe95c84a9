"""`python -I -S forked_worker.py SOCKET MODULE`: runs a module in a fork of the preloaded process, in place of a new interpreter.

The parent sees a child with its pipes, its exit code and SIGTERM. A kill ends this process alone; the module ends when the parent
closes its standard input, as all children of Zoo do. Imports little, since it is started often.
"""

import json
import os
import signal
import socket
import sys


def main(address: str, module: str) -> int:
    """Exit code of the module; a signal that ended it ends this process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # until the module has a process
    reading, writing = os.pipe()
    here = os.getcwd()  # noqa: PTH109 - pathlib would take longer to import than all else
    order = {"command": ["-m", module], "cwd": here, "environment": dict(os.environ), "session": True}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as orders:
        orders.connect(address)
        socket.send_fds(orders, [json.dumps(order).encode()], [0, 1, 2, writing])
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


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
