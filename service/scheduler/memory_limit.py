"""How many rows fit into a device's memory at once, learned from batches that did not fit."""

from __future__ import annotations

RECOVERY_BATCHES, RECOVERY_STEPS = 16, 16
"""After out-of-memory the limit is half of the batch that failed. Every 16 batches in a row that fill the limit raise it by a
sixteenth of the batch that failed; when it has reached that size it is lifted."""

INFINITY = float("inf")


class MemoryLimit:
    """Rows × padded length that a batch may have; no limit until a batch did not fit. Halved at once, raised step by step."""

    def __init__(self) -> None:
        self.cells = INFINITY
        self._failed = INFINITY
        self._full_batches = 0

    def rows(self, length: float, most: int) -> int:
        """Rows of this length that fit, up to `most`; never less than one."""
        return most if self.cells == INFINITY else max(1, min(most, int(self.cells // max(length, 1))))

    def exceeded(self, rows: int, length: int) -> None:
        """A batch did not fit: from now on half of it is the limit. A single row that does not fit says nothing of other rows."""
        cells = float(rows * max(length, 1))
        if rows > 1 and cells / 2 < self.cells:
            self.cells, self._failed, self._full_batches = cells / 2, cells, 0

    def fitted(self, rows: int, length: int) -> None:
        """A batch fitted. It counts if one more row would have been over the limit."""
        if self.cells == INFINITY or (rows + 1) * length <= self.cells:
            return
        self._full_batches += 1
        if self._full_batches >= RECOVERY_BATCHES:
            self._full_batches = 0
            self.cells += self._failed / RECOVERY_STEPS
            if self.cells >= self._failed:
                self.cells = INFINITY
