"""How long a batch takes on a lane, learned from batches as they run.

The law is `fixed + per_row × rows + per_cell × rows × length`, none of them negative: a network's fixed work, its work for a row,
and for a cell of the padded axis (a token, a sample). Durations are those of a lane, with the load of the other lanes in them.

Least squares on relative errors, with exponential forgetting, from running sums (recursive least squares: Ljung, System
Identification, 1999, chapter 11). A batch that took far more or less than predicted is an outlier and is clipped to the bound of
what is believed (Huber, 1964); several outliers in a row to the same side are a change of the law, which is then scaled at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple, Protocol

MIN_BATCHES = 4
"""Batches observed before a prediction is made."""

FORGETTING = 0.985
"""Share of a batch's weight that is left after the next batch: about the last 70 batches make the law."""

MIN_BOUND, BOUND_SPREADS = 0.15, 3.0
"""A relative error is believed up to the greater of 15 % and three times the usual error."""

MAX_OUTLIERS = 6
"""So many errors in a row beyond the bound and to the same side are not outliers but a change."""

RESET_WEIGHT = 0.3
"""Share of the weight of earlier batches that is left then."""

RIDGE = 1e-4
"""Share of a sum that is added to its own column, so that batches of one size still make a law: an even split of their
duration."""

REACH = 2.0
"""Predictions hold for up to twice the greatest length seen."""

SETTLED, PERIOD = 64, 16
"""After so many batches the law is solved only at every sixteenth."""

SAFETY = 2.0
"""A batch must end so many mean errors of the predicted cost before its deadlines. Under overload every batch is made of rows
that can just be answered in time, so that a small error makes all of them late."""

QUICK_S, QUICK_PERIOD = 0.001, 8
"""From then on only every eighth of the batches under a millisecond is observed: an update takes some microseconds."""


class Law(NamedTuple):
    """Seconds of a batch on one lane."""

    fixed_s: float
    per_row_s: float
    per_cell_s: float

    def seconds(self, rows: int, length: float) -> float:
        """Seconds for `rows` rows padded to `length`."""
        return self.fixed_s + rows * (self.per_row_s + self.per_cell_s * length)

    def most_rows(self, length: float, seconds: float) -> int:
        """Rows of this length that take no longer than `seconds`; below 1 where one row takes longer."""
        a_row = self.per_row_s + self.per_cell_s * length
        return (
            int(min((seconds - self.fixed_s) / a_row, 1e9)) if a_row > 0 else (10**9 if seconds >= self.fixed_s else 0)
        )


class Cost(Protocol):
    """What the policy reads: a law, and the errors of its predictions."""

    @property
    def law(self) -> Law | None:
        """None while too few batches were observed."""

    @property
    def spread(self) -> float:
        """Mean relative error of its predictions (0.05: 5 %)."""

    @property
    def reach(self) -> float:
        """Greatest length that predictions hold for; a longer row must not be refused because of a prediction."""

    def observe(self, rows: int, length: int, seconds: float) -> None:
        """A batch ran."""


def margin(cost: Cost) -> float:
    """Factor on a prediction that a deadline depends on."""
    return 1.0 + SAFETY * cost.spread


@dataclass(frozen=True, slots=True)
class KnownCost:
    """A fixed law; `KnownCost(None)` is never known."""

    law: Law | None
    spread: float = 0.0
    reach: float = float("inf")

    def observe(self, rows: int, length: int, seconds: float) -> None:
        """Learns nothing."""


class LearnedCost:
    """The law of one network in one precision. Not thread-safe; an update takes some microseconds."""

    def __init__(self) -> None:
        self.law: Law | None = None
        self.spread = 0.1
        self.reach = 0.0
        self._seen = self._skipped = self._most_rows = 0
        self._unit = 1.0  # unit of cells, so that the columns have similar sizes
        self._sums: tuple[float, ...] = (
            0.0,
        ) * 9  # of products of the columns: the upper half of the matrix, then with the target
        self._outliers: list[float] = []

    def observe(self, rows: int, length: int, seconds: float) -> None:
        """A batch of `rows` rows padded to `length` took `seconds` on its lane."""
        if rows < 1 or not 0.0 <= seconds < float("inf"):
            return
        if seconds < QUICK_S and self._seen > SETTLED:
            self._skipped += 1
            if self._skipped % QUICK_PERIOD:
                return
        if not self._seen:
            self._unit = float(max(length, 1))
        expected = believed = max(seconds, 1e-9)
        known = length <= self.reach and rows <= self._most_rows
        self.reach, self._most_rows = max(self.reach, REACH * length), max(self._most_rows, rows)
        if self.law is not None and known:  # otherwise there was no prediction to compare with
            expected = max(self.law.seconds(rows, length), 1e-9)
            believed = self._believable(expected, believed)
        self._seen += 1
        self._add(rows, length, believed, expected)
        if self._seen >= MIN_BATCHES and (self._seen < SETTLED or self._seen % PERIOD == 0):
            self._solve()

    def _believable(self, predicted: float, seconds: float) -> float:
        """The duration to learn from. Counts outliers, and scales the law when they are too many for chance."""
        error = seconds / predicted - 1.0
        bound = max(MIN_BOUND, BOUND_SPREADS * self.spread)
        self.spread += 0.05 * (min(abs(error), bound) - self.spread)
        if abs(error) <= bound:
            if self._outliers:
                self._outliers.clear()
            return seconds
        if self._outliers and (self._outliers[-1] > 1.0) != (error > 0.0):
            self._outliers.clear()
        self._outliers.append(seconds / predicted)
        if len(self._outliers) < MAX_OUTLIERS:
            return predicted * (1.0 + max(-bound, min(bound, error)))
        ratio = sorted(self._outliers)[MAX_OUTLIERS // 2]
        self._outliers.clear()
        # The weights are those of relative errors, so they scale too; earlier batches now count for little.
        square, product = RESET_WEIGHT / ratio**2, RESET_WEIGHT / ratio
        self._sums = tuple(value * (square if i < 6 else product) for i, value in enumerate(self._sums))
        self._solve()
        return seconds

    def _add(self, rows: int, length: int, seconds: float, expected: float) -> None:
        """Errors are relative, so each batch is weighted by the inverse of its expected duration."""
        a = 1.0 / expected
        b = a * rows
        c = b * length / self._unit
        y = a * seconds
        aa, ab, ac, bb, bc, cc, ay, by, cy = self._sums
        m = FORGETTING
        self._sums = (
            m * aa + a * a,
            m * ab + a * b,
            m * ac + a * c,
            m * bb + b * b,
            m * bc + b * c,
            m * cc + c * c,
            m * ay + a * y,
            m * by + b * y,
            m * cy + c * y,
        )

    def _solve(self) -> None:
        """Non-negative least squares of three unknowns: the best of the seven choices of the unknowns that are not zero."""
        aa, ab, ac, bb, bc, cc, *products = self._sums
        squares = [[aa, ab, ac], [ab, bb, bc], [ac, bc, cc]]
        best, found = float("inf"), (0.0, 0.0, 0.0)
        for count in (3, 2, 1):
            for columns in combinations(range(3), count):
                solution = _solve_for(squares, products, columns)
                if solution is None:
                    continue
                value = -sum(solution[i] * products[i] for i in columns)  # of the objective, at its minimum
                if value < best:
                    best, found = value, solution
            if count == 3 and best < float("inf"):
                break  # all three are positive: no other choice is better
        self.law = Law(found[0], found[1], found[2] / self._unit)


def _solve_for(
    squares: list[list[float]], products: list[float], columns: tuple[int, ...]
) -> tuple[float, float, float] | None:
    """Solves the normal equations in some columns, the others zero; None where one would be negative. Gauss, no pivots:
    the matrix is positive definite."""
    a = [[squares[i][j] * (1.0 + RIDGE * (i == j)) for j in columns] for i in columns]
    b = [products[i] for i in columns]
    n = len(columns)
    for k in range(n):
        pivot = a[k][k]
        if pivot <= 0.0:
            return None
        for i in range(k + 1, n):
            factor = a[i][k] / pivot
            for j in range(k, n):
                a[i][j] -= factor * a[k][j]
            b[i] -= factor * b[k]
    solution = [0.0, 0.0, 0.0]
    for k in reversed(range(n)):
        value = (b[k] - sum(a[k][j] * solution[columns[j]] for j in range(k + 1, n))) / a[k][k]
        if value < 0.0:
            return None
        solution[columns[k]] = value
    return solution[0], solution[1], solution[2]
