"""Counts examples while they are read, and decides in the end whether a model can learn from them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from service.datasets.dataset import DatasetKind, DatasetReport, Skipped
from service.datasets.dataset_limits import DatasetLimits
from service.datasets.formatting import counted, quoted, quoted_list
from service.datasets.readers.columns.number_format import PLAIN
from service.datasets.readers.inferred_facts import InferredFacts
from service.datasets.readers.parsed_example import ParsedExample, TargetKind
from service.errors import InvalidInput

MIN_CLASS_EXAMPLES = 2
TINY_CLASS = 10
MIN_NUMBER_EXAMPLES = 10
"""Minimum number of examples with a number as target."""
MIN_CHARACTERS = 1_000
"""Minimum length of plain text."""
MAX_TARGETS = 50_000_000
"""Examples × classes, where an example may have several: a job holds a number for each."""
MAX_WARNINGS = 50
WARN_SKIPPED_SHARE = 0.1
LABEL_SEPARATORS = "|;,"
"""Characters by which tables divide the classes of one example."""
MAX_REASONS = 50
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\b\d[\d.,]*\b")
"""Names, values and numbers: reasons that differ only in these count as one reason."""
SEVERAL = (TargetKind.CLASSES, TargetKind.SPANS, TargetKind.BOXES, TargetKind.MASK)
MISSING_TARGET = ("the target is empty", "the target is NaN")


class Findings:
    """The findings of validation, collected example by example."""

    def __init__(
        self, kind: DatasetKind, target: TargetKind, limits: DatasetLimits, inferred: InferredFacts | None = None
    ) -> None:
        """`inferred`: what was inferred before the first example was read; `infer` adds to it."""
        self._inferred = inferred or InferredFacts()
        self.infer = self._inferred.infer
        self._kind = kind
        self._target = target
        self._limits = limits
        self._examples = 0
        self._classes: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._trained: set[str] = set()
        self._skipped: list[Skipped] = []
        self._skipped_count = self._left_out = 0
        self._reasons: Counter[str] = Counter()
        self.used = 0
        """Rows, lines and files that went into examples."""
        self._warnings: dict[str, None] = {}
        self._seen: dict[bytes, list[tuple[str, str | float | None]]] = {}
        self._once: dict[bytes, tuple[str, str | float | None]] = {}
        self._characters = 0
        self._mean = self._squares = 0.0
        self._least, self._most = math.inf, -math.inf

    def skip(self, file: str, row: int, reason: str, count: int = 1, *, example: bool = True) -> None:
        """Count an input that is left out; `example`: whether it could have been an example."""
        self._skipped_count += count
        if example:
            self._left_out += count
        kind = _QUOTED.sub("…", _clean(reason))
        self._reasons[kind if kind in self._reasons or len(self._reasons) < MAX_REASONS else "other reasons"] += count
        if len(self._skipped) < self._limits.skipped_shown:
            self._skipped.append(Skipped(file=_clean(file), row=row, reason=_clean(reason)))

    def warn(self, sentence: str) -> None:
        """Add a warning to the report."""
        if len(self._warnings) < MAX_WARNINGS:
            self._warnings[_clean(sentence)] = None

    def add(self, example: ParsedExample) -> None:
        """Count an example."""
        self._examples += 1
        self.used += example.pieces
        self._splits[example.split] += 1
        for label in (example.label,) if example.labels is None else example.labels:
            if label is None:
                continue
            self._classes[label] += 1
            if len(self._classes) > self._limits.classes:
                raise InvalidInput(
                    "header.columns.target" if example.row else "data",
                    f"there are more than {self._limits.classes} classes, which is the limit",
                )
            if example.split in ("train", ""):
                self._trained.add(label)
        if example.number is not None:
            self._statistics(example.number)
        self._characters += len(example.values.get("text", ""))
        key = bytes.fromhex(example.digest)
        target = example.label if example.labels is None else "\0".join(example.labels)
        occurrence = (example.split, target if example.number is None else example.number)
        if key in self._seen:
            self._seen[key].append(occurrence)
        elif key in self._once:
            self._seen[key] = [self._once[key], occurrence]
        else:
            self._once[key] = occurrence

    def _statistics(self, value: float) -> None:
        """Welford's running mean and sum of squares."""
        delta = value - self._mean
        self._mean += delta / self._examples
        self._squares += delta * (value - self._mean)
        self._least, self._most = min(self._least, value), max(self._most, value)

    def labels(self) -> tuple[str, ...]:
        """Class names, sorted; by number if all of them are whole numbers. Where an example may have several, without those of
        one example, which cannot be learned and measured as well."""
        if self._target in SEVERAL:
            return self._sorted([name for name, count in self._classes.items() if count >= MIN_CLASS_EXAMPLES])
        return self._sorted(list(self._classes))

    @staticmethod
    def _sorted(names: Sequence[str]) -> tuple[str, ...]:
        if all(name.isascii() and name.removeprefix("-").isdigit() for name in names):
            return tuple(sorted(names, key=lambda name: (int(name), name)))
        return tuple(sorted(names))

    def report(self, duration_s: float, entered: int = 0) -> DatasetReport:
        """The report on `entered` rows, lines and files. Raises InvalidInput for data that a model cannot learn from."""
        self.refuse()
        self._remark()
        splits = dict(sorted(self._splits.items())) if any(self._splits) else {}
        statistics: dict[str, float] = {}
        if self._target is TargetKind.NUMBER:
            spread = math.sqrt(self._squares / self._examples)
            statistics = {"mean": self._mean, "std": spread, "min": self._least, "max": self._most}
        return DatasetReport(
            examples=self._examples,
            class_counts={name: self._classes[name] for name in self.labels()},
            split_counts=splits,
            skipped_count=self._skipped_count,
            skipped=tuple(self._skipped),
            input_count=entered,
            skipped_reasons=dict(self._reasons.most_common()),
            warnings=tuple(self._warnings),
            duplicates=len(self._seen),
            target_statistics=statistics,
            duration_s=duration_s,
            inferred=self._inferred.lines(),
        )

    def refuse(self) -> None:
        """Raises InvalidInput for data that a model cannot learn from."""
        why = ""
        if self._skipped:
            first = self._skipped[0]
            where = f"{quoted(first.file)}, row {first.row}" if first.row else quoted(first.file)
            why = f"; {self._left_out or self._skipped_count} left out, the first is {where}: {first.reason}"
        if not self._examples:
            raise InvalidInput("data", f"has no usable example{why}")
        if self._target is TargetKind.CLASS:
            if len(self._classes) == 1:
                (name,) = self._classes
                raise InvalidInput("data", f"holds only one class, {quoted(name)}; at least two are needed{why}")
            single = [name for name in self.labels() if self._classes[name] < MIN_CLASS_EXAMPLES]
            if single:
                if len(single) == len(self._classes):
                    raise InvalidInput(
                        "data",
                        f"each of the {len(single)} classes, such as {quoted(single[0])}, has 1 example, and at least"
                        f" {MIN_CLASS_EXAMPLES} are needed; perhaps something else is the target{why}",
                    )
                more = f" (and {counted(len(single) - 1, 'other')})" if len(single) > 1 else ""
                raise InvalidInput(
                    "data",
                    f"class {quoted(single[0])}{more} has 1 usable example, and at least {MIN_CLASS_EXAMPLES} are"
                    f" needed; add some or leave the class out{why}",
                )
        if self._target in SEVERAL:
            self._refuse_classes(why)
        if self._target is TargetKind.NUMBER:
            if self._examples < MIN_NUMBER_EXAMPLES:
                raise InvalidInput(
                    "data",
                    f"holds {self._examples} usable examples; at least {MIN_NUMBER_EXAMPLES} are needed{why}",
                )
            if self._least == self._most:
                raise InvalidInput(
                    "header.columns.target", f"the target is {self._least:g} in every row; there is nothing to learn"
                )
        if self._kind is DatasetKind.PLAIN_TEXT and self._characters < MIN_CHARACTERS:
            raise InvalidInput(
                "data",
                f"holds {self._characters} characters; at least {MIN_CHARACTERS} are needed to learn from{why}",
            )
        if any(self._splits) and not (self._splits["train"] or self._splits[""]):
            raise InvalidInput("header.columns.split", "no example is in the split 'train'")

    def _refuse_classes(self, why: str) -> None:
        kept = len(self.labels())
        if self._target is TargetKind.SPANS and not kept:
            what = f"no label of a span is in at least {MIN_CLASS_EXAMPLES} texts"
            raise InvalidInput("data", f"{what}, as the least that can be learned and measured{why}")
        if self._target is TargetKind.BOXES and not kept:
            what = f"no class has a box in at least {MIN_CLASS_EXAMPLES} pictures"
            raise InvalidInput("data", f"{what}, as the least that can be learned and measured{why}")
        if self._target is TargetKind.MASK and kept < 2:
            few = f"class {quoted(self.labels()[0])} alone is" if kept else "no class is"
            what = f"{few} in the masks of at least {MIN_CLASS_EXAMPLES} pictures, and at least two classes are needed"
            raise InvalidInput("data", f"{what}{why}")
        if self._target is TargetKind.CLASSES and kept < 2:
            few = f"class {quoted(self.labels()[0])} alone has" if kept else "no class has"
            raise InvalidInput(
                "header.columns.target",
                f"{few} at least {MIN_CLASS_EXAMPLES} examples, and at least two classes are needed{why}",
            )
        if kept * self._examples > MAX_TARGETS:
            raise InvalidInput(
                "data",
                f"{self._examples:,} examples with any of {kept:,} classes are more than {MAX_TARGETS:,} decisions; leave rare"
                " classes out",
            )

    def _remark(self) -> None:
        single = sorted(name for name, count in self._classes.items() if count < MIN_CLASS_EXAMPLES)
        if self._target in SEVERAL and single:
            self.warn(f"classes of one example, which were left out: {quoted_list(single)}")
        total = self._examples + self._left_out
        pieces = {DatasetKind.SERIES: "row", DatasetKind.PLAIN_TEXT: "line"}  # one example is made of many
        if self._kind in pieces:
            if self._left_out:
                self.warn(f"left out {counted(self._left_out, pieces[self._kind])}")
        elif self._left_out > WARN_SKIPPED_SHARE * total:
            self.warn(f"left out {self._left_out} of {counted(total, 'example')}")
        folded: dict[str, list[str]] = {}
        for name in self.labels():
            folded.setdefault(name.casefold(), []).append(name)
        for alike in folded.values():
            if len(alike) > 1:
                self.warn(f"classes that differ only in the case of letters: {quoted_list(alike)}")
        same: dict[Decimal | float, list[str]] = {}
        for name in self.labels():
            if (value := PLAIN.parse_exact(name)) is not None:
                same.setdefault(value, []).append(name)
        for alike in same.values():
            if len(alike) > 1:
                self.warn(f"classes that are the same number, written differently: {quoted_list(alike)}")
        self._remark_joined_classes()
        if empty := sum(self._reasons[reason] for reason in MISSING_TARGET):
            self.warn(
                f"the target is missing in {counted(empty, 'row')}, which {'was' if empty == 1 else 'were'} left out"
            )
        tiny = [name for name in self.labels() if self._classes[name] < TINY_CLASS]
        if tiny:
            self.warn(f"classes with fewer than {TINY_CLASS} examples: {quoted_list(tiny)}")
        unseen = [name for name in self.labels() if name not in self._trained]
        if unseen:
            self.warn(f"no example of {quoted_list(unseen)} is in the split 'train'")
        across = sum(len({split for split, _ in occurrences if split}) > 1 for occurrences in self._seen.values())
        if across:
            self.warn(f"{counted(across, 'content')} in more than one split: metrics on them are too good")
        if self._target is not TargetKind.NONE:
            contradictory = sum(len({target for _, target in occurrences}) > 1 for occurrences in self._seen.values())
            if contradictory:
                self.warn(f"{counted(contradictory, 'content')} with different targets")

    def _remark_joined_classes(self) -> None:
        """Names such as 'red|round' beside 'red': several classes of one example, taken as one."""
        if self._target is not TargetKind.CLASS:
            return
        names = set(self.labels())
        for separator in LABEL_SEPARATORS:
            joined = [
                name
                for name in self.labels()
                if separator in name and any(part.strip() in names for part in name.split(separator))
            ]
            if joined:
                self.warn(
                    f"classes that look like several each: {quoted_list(joined)}; the label separator {separator!r} divides them"
                )


def _clean(text: str) -> str:
    """Text that can be encoded: names of files may hold bytes that are not UTF-8."""
    return text.encode("utf-8", "replace").decode()
