"""A network is quantised by real data of its model, and judged by others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from model_zoo.versions import Versions
from service.datasets.dataset import Example
from service.engine.check_record import CheckRecord
from service.tasks.base import Task
from service.types import Item, TextInstance
from service.verification.calibration import CALIBRATING, FEWEST, JUDGING, RealInputs, real_inputs
from tests.support.registry.stored_data import store_texts
from tests.support.registry.tier_fakes import Task as TaskWithGoldenInputs
from tests.support.registry.tuned_versions import base_card, publish

DATA = "d" * 32


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Example]]:
    """Data sets by id: the texts 0 to 299."""
    return store_texts(monkeypatch, DATA, (str(n) for n in range(300)))


@pytest.fixture
def task() -> Task:
    """Its golden inputs are 3, 4 and 5."""
    return TaskWithGoldenInputs(base_card("adder"))


def record(home: Path, judged: int) -> CheckRecord:
    """Of a version that is judged by the first texts of the data set."""
    number = publish(home, "mine", held_out=(DATA, [float(n) for n in range(judged)]))
    return CheckRecord(Versions(home).open("mine", number))


def numbers(items: Sequence[Item]) -> list[float]:
    return [float(item.tensors["x"][0]) for item in items]


def test_version_is_quantised_by_examples_that_judge_neither_it_nor_the_quantised_network(
    tmp_path: Path, task: Task, stored: dict[str, list[Example]]
) -> None:
    found = real_inputs(task, record(tmp_path, 250), None)
    calibrating, judging = numbers(found.calibrating), numbers(found.judging)
    assert sorted(calibrating + judging) == [float(n) for n in range(250, 300)]
    assert len(judging) == 17, "a third"
    assert [batch["x"].shape for batch in found.batches(task)] == [(1, 1)] * len(calibrating)


def test_examples_are_few_and_come_from_all_of_the_data(
    tmp_path: Path, task: Task, stored: dict[str, list[Example]]
) -> None:
    found = real_inputs(task, record(tmp_path, 20), None)
    chosen = {*numbers(found.calibrating), *numbers(found.judging)}
    assert (len(found.calibrating), len(found.judging), len(chosen)) == (CALIBRATING, JUDGING, CALIBRATING + JUDGING)
    assert (min(chosen), max(chosen)) == (20.0, 298.0)


def test_example_that_cannot_be_read_is_left_out(tmp_path: Path, task: Task, stored: dict[str, list[Example]]) -> None:
    stored[DATA][299] = Example(TextInstance(b"bad"), None, "", "bad", "row 299")
    found = real_inputs(task, record(tmp_path, 250), None)
    assert len(found.calibrating) + len(found.judging) == 49


@pytest.mark.parametrize("judged", [300 - FEWEST + 1, 300])
def test_too_few_examples_are_none(tmp_path: Path, task: Task, stored: dict[str, list[Example]], judged: int) -> None:
    assert real_inputs(task, record(tmp_path, judged), None) == RealInputs()
    assert real_inputs(task, record(tmp_path, 300 - FEWEST), None).judging


def test_deleted_data_give_no_examples(tmp_path: Path, task: Task, stored: dict[str, list[Example]]) -> None:
    version = record(tmp_path, 100)
    stored.clear()
    assert real_inputs(task, version, None) == RealInputs()


def test_model_of_the_zoo_is_quantised_by_the_data_of_a_version_that_was_tuned_from_it(
    tmp_path: Path, task: Task, stored: dict[str, list[Example]]
) -> None:
    assert real_inputs(task, CheckRecord(None), Versions(tmp_path)) == RealInputs()
    record(tmp_path, 250)
    found = real_inputs(task, CheckRecord(None), Versions(tmp_path))
    assert numbers(found.judging) == [float(n) for n in range(251, 300, 3)]


def test_largest_data_set_is_taken_whatever_the_names_of_the_versions(
    tmp_path: Path, task: Task, stored: dict[str, list[Example]]
) -> None:
    small = "e" * 32
    stored[small] = stored[DATA][:40]
    publish(tmp_path, "a", held_out=(small, [0.0, 1.0]))
    record(tmp_path, 250)
    publish(tmp_path, "z", held_out=(small, [0.0, 1.0]))
    found = real_inputs(task, CheckRecord(None), Versions(tmp_path))
    assert numbers(found.judging) == [float(n) for n in range(251, 300, 3)]


def test_golden_inputs_are_calibrated_on_beside_real_ones_only(task: Task) -> None:
    one, golden = Item({"x": np.array([8.0], np.float32)}), Item({"x": np.array([3.0], np.float32)})
    batches = RealInputs((one,), (one,)).batches(task, [golden])
    assert [float(batch["x"].item()) for batch in batches] == [3.0, 8.0]
    assert RealInputs().batches(task, [golden]) == []


def test_data_of_versions_of_other_models_and_of_damaged_ones_are_not_used(
    tmp_path: Path, task: Task, stored: dict[str, list[Example]]
) -> None:
    publish(tmp_path, "another", base="second", held_out=(DATA, [0.0, 1.0]))
    number = publish(tmp_path, "damaged", held_out=(DATA, [0.0, 1.0]))
    (tmp_path / "versions" / "damaged" / str(number) / "card.json").write_text("{")
    assert real_inputs(task, CheckRecord(None), Versions(tmp_path)) == RealInputs()
