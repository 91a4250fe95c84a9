"""Runs a command that stops the server while it works on a request, and demands that the request is answered.

    python stop_in_flight.py SERVER METRICS_URL PHOTO COMMAND…

Exit code 0: the request was in flight when the command began, all its rows were answered, the command ended well, and
the server takes no more calls.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import urlopen

from service.client import Classification, Client, Retry, Unavailable

MODEL = "efficientnet_lite0"
ROWS = 32
BOUND_S = 120.0


def in_flight(metrics: str) -> float:
    """Requests that the server works on, by its own count."""
    with urlopen(metrics, timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("zoo_in_flight_requests"))


def main() -> int:
    server, metrics, photo, *command = sys.argv[1:]
    content = Path(photo).read_bytes()
    with Client(server, retry=Retry(attempts=1)) as client, ThreadPoolExecutor(1) as pool:
        began = time.monotonic()
        request = pool.submit(client.predict, MODEL, [content] * ROWS, top_k=1, timeout=BOUND_S)
        while not request.done() and in_flight(metrics) < 1:
            if time.monotonic() - began > BOUND_S:
                raise TimeoutError("the request never showed in zoo_in_flight_requests")
        early = request.done()
        stop = time.monotonic()
        subprocess.run(command, check=True, timeout=BOUND_S)
        stopped = time.monotonic()
        outcomes = request.result(timeout=5)
        answered = sum(isinstance(outcome, Classification) for outcome in outcomes)
        try:
            client.predict(MODEL, content, timeout=5)
            refused = False
        except Unavailable:
            refused = True
    print(
        f"{answered} of {ROWS} rows answered; stop began {stop - began:.1f} s into the request and took "
        f"{stopped - stop:.1f} s; afterwards calls are {'refused' if refused else 'still answered'}"
    )
    return 0 if answered == ROWS and refused and not early else 1


if __name__ == "__main__":
    raise SystemExit(main())
