"""Splits are complete, disjoint and repeatable, and keep classes and equal contents together as documented."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.datasets.dataset import DatasetInfo, DatasetKind, DatasetReport, Example
from service.datasets.splits import NAMES, cut_series, split_examples
from service.types import TextInstance
from tests.support.datasets.dataset_files import lines, read, sentences


@dataclass
class Listed:
    """Examples in memory."""

    info: DatasetInfo
    examples: list[Example]

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]


def listed(
    targets: list[float | None],
    splits: list[str] | None = None,
    digests: list[str] | None = None,
    kind: DatasetKind = DatasetKind.TEXT,
) -> Listed:
    """Classes if the targets are whole numbers, otherwise numbers."""
    classes = sorted({t for t in targets if isinstance(t, int)})
    labels = tuple(str(i) for i in range(max(classes) + 1)) if classes else ()
    info = DatasetInfo(
        id="0" * 32,
        kind=kind,
        sha256="",
        size_bytes=0,
        labels=labels,
        report=DatasetReport(examples=len(targets)),
        created=datetime.now(UTC),
    )
    examples = [
        Example(
            TextInstance(b""),
            target,
            splits[i] if splits else "",
            digests[i] if digests else f"{i:032x}",
            str(i),
        )
        for i, target in enumerate(targets)
    ]
    return Listed(info, examples)


classes = st.lists(st.integers(0, 6), min_size=1, max_size=120)
numbers = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=120)
seeds = st.integers(0, 2**63 - 1)


@settings(deadline=None, max_examples=150)
@given(targets=st.one_of(classes, numbers), seed=seeds, data=st.data())
def test_split_puts_every_example_into_one_part_and_is_repeatable(
    targets: list[float | None], seed: int, data: st.DataObject
) -> None:
    given_splits = data.draw(
        st.one_of(st.none(), st.lists(st.sampled_from(["", *NAMES]), min_size=len(targets), max_size=len(targets)))
    )
    pool = st.sampled_from([f"{i:032x}" for i in range(40)])
    digests = data.draw(st.one_of(st.none(), st.lists(pool, min_size=len(targets), max_size=len(targets))))
    examples = listed(targets, given_splits, digests)
    found = split_examples(examples, seed)
    assert tuple(found) == NAMES
    assert sorted(i for part in found.values() for i in part) == list(range(len(targets)))
    assert all(list(part) == sorted(part) for part in found.values())
    assert split_examples(examples, seed) == found
    for i, name in enumerate(given_splits or ()):
        if name in ("validation", "test"):
            assert i in found[name], "what the data say is honoured"
    if given_splits is None and digests is not None:
        where = defaultdict(set)
        for name, part in found.items():
            for i in part:
                where[digests[i]].add(name)
        assert all(len(names) == 1 for names in where.values()), "equal contents stay together"


@settings(deadline=None, max_examples=100)
@given(targets=classes, seed=seeds)
def test_split_puts_every_class_into_train_and_held_out_parts_where_possible(
    targets: list[float | None], seed: int
) -> None:
    found = split_examples(listed(targets), seed)
    of = {name: Counter(targets[i] for i in part) for name, part in found.items()}
    for label, count in Counter(targets).items():
        assert of["train"][label] >= 1
        if count >= 3:
            assert of["test"][label] + of["validation"][label] >= 1
        if count >= 4:
            assert of["test"][label] >= 1
            assert of["validation"][label] >= 1


@pytest.mark.parametrize("per_class", [10, 13, 20, 50, 99])
@pytest.mark.parametrize("kinds", [2, 10])
def test_split_has_the_requested_shares(per_class: int, kinds: int) -> None:
    targets: list[float | None] = [i % kinds for i in range(per_class * kinds)]
    found = split_examples(listed(targets), 3)
    for name, share in zip(NAMES, (0.7, 0.15, 0.15), strict=True):
        assert len(found[name]) == pytest.approx(share * len(targets), abs=1 + kinds / 10)
        most, least = (f(Counter(targets[i] for i in found[name]).values()) for f in (max, min))
        assert most - least <= 2, "each class has its share"


def test_split_with_another_seed_changes_validation_and_keeps_test() -> None:
    """A version must not be measured on examples that a version with another seed has learned."""
    examples = listed([i % 2 for i in range(200)])
    found = [split_examples(examples, seed) for seed in range(5)]
    assert len({parts["test"] for parts in found}) == 1
    assert len({parts["validation"] for parts in found}) == 5


def test_split_of_numbers_draws_from_their_whole_range() -> None:
    targets: list[float | None] = [math.exp(i / 20) + 0.5 for i in range(200)]
    found = split_examples(listed(targets), 0)
    for part in found.values():
        assert {i // 20 for i in part} == set(range(10)), "of each tenth"


def test_split_of_tiny_classes_leaves_examples_for_validation() -> None:
    found = split_examples(listed([i // 2 for i in range(12)]), 0)
    assert [len(found[name]) for name in NAMES] == [6, 3, 3]


def test_missing_parts_are_taken_from_the_train_part_of_the_data() -> None:
    targets: list[float | None] = [i % 2 for i in range(100)]
    splits = ["train" if i < 80 else "test" for i in range(100)]
    found = split_examples(listed(targets, splits), 0)
    assert found["test"] == tuple(range(80, 100))
    assert len(found["validation"]) == pytest.approx(80 * 0.15 / 0.85, abs=1)
    whole = split_examples(listed(targets, ["train"] * 100), 0)
    assert all(whole.values())


def test_split_after_one_more_example_moves_hardly_any_other() -> None:
    targets: list[float | None] = [i % 2 for i in range(400)]
    before, after = split_examples(listed(targets), 7), split_examples(listed([*targets, 1]), 7)
    assert len(set(before["test"]) ^ set(after["test"])) <= 4


def test_plain_text_split_keeps_the_order_of_blocks() -> None:
    found = split_examples(listed([None] * 20, kind=DatasetKind.PLAIN_TEXT), 5)
    assert [*found["train"], *found["validation"], *found["test"]] == list(range(20))
    assert [len(found[name]) for name in NAMES] == [14, 3, 3]
    assert [len(part) for part in split_examples(listed([None] * 2, kind=DatasetKind.PLAIN_TEXT), 5).values()] == [
        1,
        0,
        1,
    ]


def test_series_split_is_by_time_unless_the_data_name_parts() -> None:
    assert split_examples(listed([None] * 3, kind=DatasetKind.SERIES), 5) == {
        "train": (0, 1, 2),
        "validation": (),
        "test": (),
    }
    said = listed([None] * 3, ["train", "test", "validation"], kind=DatasetKind.SERIES)
    assert split_examples(said, 5) == {"train": (0,), "validation": (2,), "test": (1,)}
    assert (cut_series(100).train_stop, cut_series(100).validation_stop) == (70, 85)


def test_stored_dataset_split_equals_that_of_its_examples(tmp_path: Path) -> None:
    examples = read(tmp_path, "a.jsonl", lines([*sentences(60), *sentences(5)]))
    in_memory = Listed(examples.info, [examples[i] for i in range(len(examples))])
    found = split_examples(examples, 1)
    assert found == split_examples(in_memory, 1)
    for first in range(5):
        assert any({first, 60 + first} <= set(part) for part in found.values()), "duplicates stay together"
