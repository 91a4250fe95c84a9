"""Splits the examples for training, validation and test. The same data and seed give the same splits on any machine."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from service.datasets.dataset import DatasetKind, Examples, Splits
from service.datasets.examples import Outline, StoredExamples

NAMES = ("train", "validation", "test")
FRACTIONS = (0.7, 0.15, 0.15)
BINS = 10
"""Quantiles of a number; within each, examples are drawn at random."""


def split_examples(examples: Examples, seed: int, fractions: tuple[float, float, float] = FRACTIONS) -> Splits:
    """Indices of the examples of `train`, `validation` and `test`.

    - Splits of the data are kept; missing ones are taken from their `train`.
    - Otherwise examples are drawn within each class (of several, the rarest), or within each tenth of the numbers, so that all
    parts contain all of
      them: a class of two different examples is in `train` and `test`, one of four or more in all three. `seed` separates
      `train` from `validation`. `test` depends on the data alone; otherwise one version would be measured on examples that
      another had learned.
    - Examples of equal content stay together, unless the data's own splits separate them.
    - Plain text is cut in its order: the first blocks are for training, the last ones for the test.
    - Series: a whole series belongs to one part if the data say so; otherwise all are `train`, and `cut_series` cuts each in
      time.
    """
    outline = _outline(examples)
    given: dict[str, list[int]] = {name: [] for name in NAMES}
    free: list[int] = []
    for index, name in enumerate(outline.splits):
        (given[name] if name else free).append(index)
    given["train"] += free
    if examples.info.kind is DatasetKind.SERIES:
        return _sorted(given)
    missing = [name for name in NAMES[1:] if not given[name]]
    if not missing:
        return _sorted(given)
    parts = {
        name: (share if name == "train" or name in missing else 0.0)
        for name, share in zip(NAMES, fractions, strict=True)
    }
    if examples.info.kind is DatasetKind.PLAIN_TEXT:
        carved = _blocks(given["train"], parts)
    else:
        numbers = not examples.info.labels
        carved = _drawn(given["train"], outline, seed, parts, numbers=numbers)
    return _sorted({name: carved[name] or given[name] for name in NAMES} | {"train": carved["train"]})


@dataclass(frozen=True, slots=True)
class SeriesCut:
    """Steps of one series: `train` ends before `train_stop`, `validation` before `validation_stop`, and the rest is `test`.

    Forecast steps lie within their part; the context of a forecast may lie before it.
    """

    train_stop: int
    validation_stop: int


def cut_series(steps: int, fractions: tuple[float, float, float] = FRACTIONS) -> SeriesCut:
    """The cut of a series of `steps` steps in time: the last part is held out."""
    whole = sum(fractions)
    return SeriesCut(int(steps * fractions[0] / whole), int(steps * (fractions[0] + fractions[1]) / whole))


def _outline(examples: Examples) -> Outline:
    if isinstance(examples, StoredExamples):
        return examples.outline()
    all_of = [examples[index] for index in range(len(examples))]
    targets = [float(e.target) if isinstance(e.target, int | float) else math.nan for e in all_of]
    return Outline(np.array(targets), tuple(e.split for e in all_of), tuple(e.digest for e in all_of))


def _sorted(parts: Mapping[str, Sequence[int]]) -> Splits:
    return {name: tuple(sorted(parts[name])) for name in NAMES}


def _blocks(indices: Sequence[int], parts: Mapping[str, float]) -> dict[str, list[int]]:
    """Consecutive parts, in the order of `NAMES`."""
    counts = _Shares(parts).next(len(indices))
    found: dict[str, list[int]] = {}
    at = 0
    for name in NAMES:
        found[name] = list(indices[at : at + counts[name]])
        at += counts[name]
    return found


def _drawn(
    indices: Sequence[int], outline: Outline, seed: int, parts: Mapping[str, float], *, numbers: bool
) -> dict[str, list[int]]:
    """A stratified draw, in groups of equal content."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index in indices:
        groups[outline.digests[index]].append(index)
    stratum = _strata(groups, outline, numbers=numbers)
    strata: dict[float, list[str]] = defaultdict(list)
    for digest in groups:
        strata[stratum[digest]].append(digest)
    held_out, order, shares = _shuffle("held out"), _shuffle(seed), _Shares(parts)
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for key in sorted(strata):
        members = sorted(strata[key], key=held_out)
        counts = shares.next(len(members))
        found["test"] += members[: counts["test"]]
        rest = sorted(members[counts["test"] :], key=order)
        found["train"] += rest[: counts["train"]]
        found["validation"] += rest[counts["train"] :]
    if parts["validation"] and not found["validation"]:  # all classes are tiny
        found["validation"] = found["test"][1::2]
        found["test"] = found["test"][::2]
    return {name: [index for digest in found[name] for index in groups[digest]] for name in NAMES}


def _strata(groups: Mapping[str, Sequence[int]], outline: Outline, *, numbers: bool) -> dict[str, float]:
    """The class of each group, or the tenth of the numbers; of several classes the one with the fewest groups."""
    if numbers:
        return _bins(groups, outline)
    first = {digest: members[0] for digest, members in groups.items()}
    if outline.targets.ndim == 1:
        return {digest: float(outline.targets[index]) for digest, index in first.items()}
    flags = outline.targets[list(first.values())] > 0
    counts = np.where(flags, flags.sum(axis=0), len(flags) + 1)
    rarest = np.where(flags.any(axis=1), counts.argmin(axis=1), -1)
    return dict(zip(first, rarest.astype(float).tolist(), strict=True))


def _shuffle(seed: int | str) -> Callable[[str], bytes]:
    """A random order that depends only on the seed and each group: one more example moves hardly any other."""
    return lambda digest: hashlib.sha256(f"{seed} {digest}".encode()).digest()


def _bins(groups: Mapping[str, Sequence[int]], outline: Outline) -> dict[str, float]:
    """The quantile of the targets in which each group lies; few examples have fewer quantiles."""
    digests = list(groups)
    targets = np.array([outline.targets[groups[digest][0]] for digest in digests])
    bins = max(1, min(BINS, len(digests) // 10))
    ranks = np.argsort(np.argsort(targets, kind="stable"), kind="stable")
    return {digest: float(rank * bins // len(digests)) for digest, rank in zip(digests, ranks, strict=True)}


class _Shares:
    """The number of groups that each part gets. Rounding losses of a part in one stratum are returned in the next."""

    def __init__(self, parts: Mapping[str, float]) -> None:
        whole = sum(parts.values())
        self._shares = {name: parts[name] / whole for name in NAMES}
        self._owed = {"test": 0.0, "validation": 0.0}

    def next(self, groups: int) -> dict[str, int]:
        """Of two or three groups, one is held out; of four or more, each part gets at least one; a single group is for
        training."""
        counts = {}
        left = groups - 1  # one group is always for training
        for name in ("test", "validation"):
            wanted = self._shares[name] > 0
            self._owed[name] += groups * self._shares[name]
            least = int(wanted and groups >= (2 if name == "test" or not self._shares["test"] else 4))
            counts[name] = min(max(int(self._owed[name] + 0.5), least), left) if wanted else 0
            self._owed[name] -= counts[name]
            left -= counts[name]
        return {"train": groups - sum(counts.values()), **counts}
