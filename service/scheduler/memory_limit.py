"""How many rows fit into a device's memory at once, learned from batches that did not."""

from __future__ import annotations

RECOVERY_BATCHES, RECOVERY_STEPS = 16, 16
"""After out-of-memory the limit is half of what failed; every 16 batches in a row that fill it add a sixteenth of what failed,
and once it is what failed it is lifted."""

INFINITY = float("inf")


class MemoryLimit:
    """Rows × padded length that a batch may have; no limit until one did not fit. Halved at once, raised step by step."""

    def __init__(self) -> None:
        self.cells = INFINITY
        self._failed = INFINITY
        self._calm = 0

    def rows(self, length: float, most: int) -> int:
        """Rows of this length that fit, up to `most`; never less than one."""
        return most if self.cells == INFINITY else max(1, min(most, int(self.cells // max(length, 1))))

    def exceeded(self, rows: int, length: int) -> None:
        """A batch did not fit: from now on half of it is the most. A row that does not fit alone says nothing of others."""
        cells = float(rows * max(length, 1))
        if rows > 1 and cells / 2 < self.cells:
            self.cells, self._failed, self._calm = cells / 2, cells, 0

    def kept(self, rows: int, length: int) -> None:
        """A batch did fit. It counts if one more row would have been over the limit."""
        if self.cells == INFINITY or (rows + 1) * length <= self.cells:
            return
        self._calm += 1
        if self._calm >= RECOVERY_BATCHES:
            self._calm = 0
            self.cells += self._failed / RECOVERY_STEPS
            if self.cells >= self._failed:
                self.cells = INFINITY
