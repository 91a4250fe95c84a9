"""Tests in several processes: the death of one process neither ends the run nor hangs it."""

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.parallel import GroupScheduling, group_of

TESTS = [f"tests/test_{module}.py::test_{i}" for module in "abcd" for i in range(3)]


class Process:
    """A process of tests that keeps what it is given."""

    shutting_down = False

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        assert indices, "a process without tests never asks for more"
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def scheduling() -> GroupScheduling:
    values = {"tx": ["2*popen"]}
    config: Any = SimpleNamespace(option=SimpleNamespace(loadscopereorder=True), getvalue=values.__getitem__)
    return GroupScheduling(config)


def _added(scheduling: GroupScheduling, name: str) -> Process:
    process: Any = Process(name)
    scheduling.add_node(process)
    scheduling.add_node_collection(process, TESTS)
    return process


def _run(scheduling: GroupScheduling, process: Any, tests: int | None = None) -> list[int]:
    """Runs what the process was given, and what it is given meanwhile."""
    done: list[int] = []
    while process.given and len(done) != tests:
        done.append(process.given.pop(0))
        scheduling.mark_test_complete(process, done[-1])
    return done


def test_test_that_ends_its_process_fails_once_and_all_others_run(scheduling: GroupScheduling) -> None:
    first, second = _added(scheduling, "first"), _added(scheduling, "second")
    scheduling.schedule()
    done = _run(scheduling, first, 4)
    crashed = first.given[0]
    assert scheduling.remove_node(first) == TESTS[crashed]
    done += _run(scheduling, second)
    third = _added(scheduling, "third")
    scheduling.schedule()
    done += _run(scheduling, third) + _run(scheduling, second)
    assert sorted([*done, crashed]) == [*range(len(TESTS))]


def test_new_process_gets_no_test_before_it_has_collected(scheduling: GroupScheduling) -> None:
    first, second = _added(scheduling, "first"), _added(scheduling, "second")
    scheduling.schedule()
    third: Any = Process("third")
    scheduling.remove_node(first)
    scheduling.add_node(third)
    scheduling.schedule()
    assert not third.given
    scheduling.add_node_collection(third, TESTS)
    scheduling.schedule()
    assert len(_run(scheduling, third) + _run(scheduling, second)) == len(TESTS) - 1


def test_process_that_ends_with_all_its_tests_done_leaves_none(scheduling: GroupScheduling) -> None:
    first, second = _added(scheduling, "first"), _added(scheduling, "second")
    scheduling.schedule()
    _run(scheduling, first)
    _run(scheduling, second)
    assert scheduling.remove_node(first) is None


@pytest.mark.parametrize(
    ("fixture", "group"), [("server", "the default models on a server"), ("made", "tuned models on a server")]
)
def test_modules_that_use_one_server_of_the_session_stay_together(
    request: pytest.FixtureRequest, fixture: str, group: str
) -> None:
    def takes_that_of_the_session(item: pytest.Function) -> bool:
        definitions = item._fixtureinfo.name2fixturedefs.get(fixture, ())
        return any(one.baseid == "tests/end_to_end" for one in definitions[-1:])

    users = {
        item.nodeid
        for item in request.session.items
        if isinstance(item, pytest.Function) and takes_that_of_the_session(item)
    }
    assert {node_id.partition("::")[0] for node_id in users if group_of(node_id) != group} == set()
