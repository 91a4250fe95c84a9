"""The interface of tasks, and what all tasks share: checking rows against the card, stacking rows, and splitting outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from model_zoo.cards.card import Card
from model_zoo.cards.signature import FEATURES
from model_zoo.golden.golden_case import Expectation, GoldenInput
from service.errors import InvalidInput, ZooError
from service.tasks.image.pixels import PIXELS, pixels_input
from service.tasks.occlusion import Attributable
from service.types import DTYPES, Answer, Array, Instance, Item, Options, TensorInstance, Tensors, TextInstance

MAX_NEW_TOKENS = 2000
"""The largest number of tokens that a call may request: each token is a pass through the network."""
MAX_TEMPERATURE = 2.0
MOST_LABELS = 100
"""Candidate labels of a call: each is a row for every text."""
LONGEST_LABEL = 1000
"""Characters of a candidate label, and of the sentence about it."""

NO_FILES: Mapping[str, Path] = MappingProxyType({})


class Task(ABC):
    """The work of one model. A task derives everything from the card and holds no state that a request could change."""

    options: frozenset[str] = frozenset()
    """Fields of Options that have a meaning for this task. A request that sets any other is refused with InvalidInput."""

    chunk: int = 1
    """Raw instances that one call of `preprocess` should get: more where they are cheap together."""

    light_rows: int = 0
    """Up to this many rows `postprocess` costs less than a trip to the pool, about 0.1 ms, and runs in the caller's thread."""

    expands: bool = False
    """Whether an instance can make several rows; see `expand`."""

    whole_tensors: bool = False
    """Whether an answer that takes several passes has tensors of all passes (`shown`), for callers of tensors as well."""

    raw_types: tuple[type, ...] = ()
    """Kinds of raw instance that the task accepts."""

    attributable: Attributable | None = None
    """By what attributions are made; None for a task without them."""

    def __init__(self, card: Card, labels: Sequence[str] = (), files: Mapping[str, Path] = NO_FILES) -> None:
        """`labels` in the order of the logits; `files`: those that the recipe names, by role."""
        self.card = card
        self.labels = tuple(labels)
        self.files = files
        self._specs = {spec.name: (spec, DTYPES[spec.datatype], spec.shape[1:]) for spec in card.signature.inputs}
        self.pixels = pixels_input(card)
        """The input that callers may send in place of the normalised image; None for a model without one."""
        self._specs_with_pixels = self._specs
        if (pixels := self.pixels) is not None:
            spec = pixels.spec
            others = {name: known for name, known in self._specs.items() if name != pixels.replaces}
            self._specs_with_pixels = {PIXELS: (spec, DTYPES[spec.datatype], spec.shape[1:]), **others}

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def preprocess(self, instances: Sequence[Instance], paths: Sequence[str]) -> list[Item | ZooError]:
        """Raw instances → rows. Each instance has its own outcome, so that one bad instance does not fail the others."""

    def expand(self, instance: Instance, options: Options, path: str) -> Sequence[Instance] | Instance | None:
        """Instances of one row each that are answered together as `instance` by `join`; None where it is one row itself; an
        instance that takes its place as one row, for answers that need some of the options before the network runs.

        Called on the event loop. Raises InvalidInput whose field begins with `path`, or names an option.
        """
        return None

    def join(self, rows: Tensors, options: Options) -> Answer:
        """Outputs of the rows of one instance, stacked in their order → the answer. Called on the event loop."""
        raise NotImplementedError

    def row(self, instance: TensorInstance, path: str) -> Item:
        """One row of the network's input tensors → item. Checks names, dtypes and shapes; copies nothing.

        An image model takes `pixels` in place of its normalised image. Raises InvalidInput whose field begins with `path`.
        """
        tensors = instance.tensors
        specs = self._specs
        if tensors.keys() != specs.keys():
            specs = self._specs_with_pixels
            if tensors.keys() != specs.keys():
                self._refuse_names(tensors, path)
        length = 1
        for name, (spec, dtype, shape) in specs.items():
            array = tensors[name]
            if array.dtype != dtype:
                raise InvalidInput(f"{path}.{name}", f"expected {spec.datatype}, got {array.dtype.name}")
            if array.shape != shape and not _fits(array.shape, shape):
                raise InvalidInput(f"{path}.{name}", f"expected shape {list(shape)} a row, got {list(array.shape)}")
            if name == self.card.batching.length_of:
                length = array.shape[0]
        self._check_length(length, path)
        return Item(tensors, length)

    def _refuse_names(self, tensors: Tensors, path: str) -> None:
        want, specs, pixels = ", ".join(self._specs), self._specs, self.pixels
        if pixels is not None:
            want += f", and {PIXELS} in place of {pixels.replaces}"
            if PIXELS in tensors:
                if pixels.replaces in tensors:
                    raise InvalidInput(f"{path}.{PIXELS}", f"expected {PIXELS} or {pixels.replaces}, got both")
                specs = self._specs_with_pixels
        for name in tensors:
            if name not in specs:
                raise InvalidInput(f"{path}.{name}", f"the model has no such input; it takes {want}")
        missing = [name for name in specs if name not in tensors]
        raise InvalidInput(path, f"input {missing[0]} is missing; the model takes {want}")

    def _check_length(self, length: int, path: str) -> None:
        most = self.card.batching.max_length
        least = self.card.batching.min_length
        if length < least:
            got = (
                f"expected at least {least} elements, got {length}"
                if length
                else "is empty; expected at least one element"
            )
            raise InvalidInput(f"{path}.{self.card.batching.length_of}", got)
        if most is not None and length > most:
            raise InvalidInput(
                f"{path}.{self.card.batching.length_of}", f"expected at most {most} elements, got {length}"
            )

    # ── batches ──────────────────────────────────────────────────────────────────────────────────────────────────

    def collate(self, items: Sequence[Item], least_length: int = 0) -> tuple[dict[str, Array], float]:
        """Rows → one batch of arrays that own their memory, and the padded share of it (0..1).

        Sequences under a mask are padded to the longest one, or to `least_length` elements if that is more.
        """
        pixels = self.pixels
        return {
            name: pixels.stack(items)
            if pixels is not None and name == pixels.replaces
            else np.stack([item.tensors[name] for item in items])
            for name in self._specs
        }, 0.0

    def groups(self, items: Sequence[Item]) -> list[list[int]]:
        """The positions of the rows that can be one batch, for rows that were queued together: all of them, unless their shapes
        differ and padding would change the answers."""
        return [[*range(len(items))]]

    def split(self, outputs: Tensors, items: Sequence[Item]) -> list[Tensors]:
        """A batch's outputs → rows, in order, without what padding added and without the features, which only heads use.

        Raises RuntimeError when an output has too few rows.
        """
        shown = {name: array for name, array in outputs.items() if name != FEATURES}
        for name, array in shown.items():
            if len(array) != len(items):
                raise RuntimeError(f"output {name} has {len(array)} rows for {len(items)} items")
        return [{name: array[i] for name, array in shown.items()} for i in range(len(items))]

    def with_options(self, item: Item, options: Options) -> Item:
        """The item of a raw instance, for a network whose run depends on the options of the call. Runs on the event loop."""
        return item

    def next_item(self, item: Item, row: Tensors, options: Options) -> Item | None:
        """The item of the next pass, for answers that take several passes; None once `row` is the last.

        Each pass is queued like any other row, so that passes of several callers share batches. Runs on the event loop.
        """
        return None

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def check(self, options: Options) -> None:
        """Raises InvalidInput for an option that has no meaning for this task or is out of its bounds."""
        for name in Options.__dataclass_fields__:
            if getattr(options, name) is not None and name not in self.options:
                raise InvalidInput(f"options.{name}", f"has no meaning for the task {self.card.task}")
        if options.top_k is not None and options.top_k < 1:
            raise InvalidInput("options.top_k", f"expected at least 1, got {options.top_k}")
        if options.threshold is not None and not 0.0 <= options.threshold <= 1.0:
            raise InvalidInput("options.threshold", f"expected 0..1, got {options.threshold}")
        most = options.max_new_tokens
        if most is not None and not 1 <= most <= MAX_NEW_TOKENS:
            raise InvalidInput("options.max_new_tokens", f"expected 1..{MAX_NEW_TOKENS:,}, got {most}")
        if options.temperature is not None and not 0.0 <= options.temperature <= MAX_TEMPERATURE:
            raise InvalidInput("options.temperature", f"expected 0..{MAX_TEMPERATURE:g}, got {options.temperature}")
        check_labels(options)
        if options.seed is not None and options.seed < 0:
            raise InvalidInput("options.seed", f"expected 0 or more, got {options.seed}")

    def shown(self, row: Tensors, item: Item | None = None) -> Tensors:
        """A row of outputs as callers get it, in the units of the data: a target that was standardised for training is converted
        back, and so is the output of an `item` whose numbers the task has scaled.

        The network does not convert by itself: in few bits, a number far from 0 would lose its distance to its neighbours.
        """
        target = self.card.target
        if target is None:
            return row
        units = {name: np.asarray(array, np.float64) * target.std + target.mean for name, array in row.items()}
        return {name: array.astype(row[name].dtype) for name, array in units.items()}

    @abstractmethod
    def postprocess(self, row: Tensors, item: Item, options: Options) -> Answer:
        """One row of outputs → the answer."""

    # ── golden cases and warm-up ─────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def golden_instance(self, given: GoldenInput) -> Instance:
        """The input of a golden case."""

    @abstractmethod
    def golden_problem(self, expect: Expectation, answer: Answer, answer_of: Mapping[str, Answer]) -> str | None:
        """The problem with the answer to a golden case, with figures; None for a correct answer.

        `answer_of` holds the answers to the texts of `golden_texts`.
        """

    def golden_texts(self, expect: Expectation) -> Sequence[str]:
        """Further texts whose answers the expectation compares with this one."""
        return ()

    def golden_options(self) -> Options:
        """Options with which a caller gets what a golden case expects, where that is a part of an answer; else the defaults."""
        return Options()

    @staticmethod
    def text_instance(text: str) -> Instance:
        """A text as a caller would send it."""
        return TextInstance(text.encode())

    def warmup_item(self) -> Item:
        """A small row that runs once before the first request."""
        tensors, length = {}, max(8, self.card.batching.min_length)
        for name, (_, dtype, shape) in self._specs.items():
            tensors[name] = np.ones([length if size < 0 else size for size in shape], dtype)
        return Item(tensors, length if self.card.batching.length_of else 1)


def check_labels(options: Options) -> None:
    """Raises InvalidInput for candidate labels or a template of which no sentence can be made."""
    labels, template = options.candidate_labels, options.hypothesis_template
    if labels is not None:
        if not 1 <= len(labels) <= MOST_LABELS:
            raise InvalidInput("options.candidate_labels", f"expected 1 to {MOST_LABELS} labels, got {len(labels):,}")
        for i, label in enumerate(labels):
            if not label.strip() or len(label) > LONGEST_LABEL:
                raise InvalidInput(
                    f"options.candidate_labels[{i}]", f"expected 1 to {LONGEST_LABEL:,} characters, got {len(label):,}"
                )
        if len(set(labels)) < len(labels):
            raise InvalidInput("options.candidate_labels", "expected each label once")
    if template is not None and (template.count("{}") != 1 or len(template) > LONGEST_LABEL):
        raise InvalidInput(
            "options.hypothesis_template",
            f"expected at most {LONGEST_LABEL:,} characters with {{}} once, for the label",
        )


def _fits(shape: tuple[int, ...], want: tuple[int, ...]) -> bool:
    return len(shape) == len(want) and all(w in (-1, s) for s, w in zip(shape, want, strict=True))
