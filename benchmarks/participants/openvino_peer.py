"""The network of the peer that is compared like for like: that of Zoo's OpenVINO tier.

It stands apart from `eager.py`, since it imports more of Zoo than the environments of the other peers are sure to take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.participants.eager import PeerNetwork, Row
from benchmarks.participants.openvino_network import load_openvino


class OpenVinoNetwork(PeerNetwork):
    """The converted network in OpenVINO, on `threads` threads of this process."""

    def __init__(self, model: str, home: Path, threads: int, description: str) -> None:
        """`description`: see `openvino_network`."""
        super().__init__(model, home, threads)
        self._runtime = load_openvino(description, threads)

    def run(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        """Rows → the output `[rows, …]`, in one batch."""
        return self._runtime.run(self.batch(rows))[self.output].astype(np.float32, copy=False)
