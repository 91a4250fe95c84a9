"""The sentinel: fixed pieces of work whose rate tells how fast the machine is at this moment, in a process of its own.

    python -m benchmarks.measurement.sentinel_loop CORES      one command a JSON line in, one answer a JSON line out

A piece takes some 30 ms of convolutions and matrix products on one thread, long enough for other programs to interrupt it. A
reading runs PIECES pieces on one thread, then PIECES on each of CORES threads at once, and has the rate of the median piece.
"""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time

import torch

PIECES, STEPS = 5, 60
SIZE, CHANNELS, EDGE = 288, 16, 48


class SentinelLoop:
    """The work. All tensors are made once, so that a reading allocates almost nothing."""

    def __init__(self, cores: int) -> None:
        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(1)
        self._matrix = torch.randn(SIZE, SIZE, generator=generator)
        self._image = torch.randn(1, CHANNELS, EDGE, EDGE, generator=generator)
        self._kernel = torch.randn(CHANNELS, CHANNELS, 3, 3, generator=generator)
        self._cores = cores
        self.read()  # the first pieces load libraries

    def read(self) -> dict[str, float]:
        """Pieces a second of one thread alone, and of each thread while all cores work."""
        return {"one": self._rate(1), "all": self._rate(self._cores)}

    def _rate(self, threads: int) -> float:
        taken: list[list[float]] = [[] for _ in range(threads)]
        start = threading.Barrier(threads)

        def run(index: int) -> None:
            torch.set_num_threads(1)
            start.wait()
            for _ in range(PIECES):
                taken[index].append(self._piece())

        workers = [threading.Thread(target=run, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return 1.0 / statistics.median(seconds for own in taken for seconds in own)

    def _piece(self) -> float:
        began = time.perf_counter()
        with torch.inference_mode():
            for _ in range(STEPS):
                torch.mm(self._matrix, self._matrix)
                torch.nn.functional.conv2d(self._image, self._kernel, padding=1)
        return time.perf_counter() - began


def main() -> None:
    """The command line."""
    loop = SentinelLoop(int(sys.argv[1]))
    for line in sys.stdin:
        json.loads(line)
        print(json.dumps(loop.read()), flush=True)


if __name__ == "__main__":
    main()
