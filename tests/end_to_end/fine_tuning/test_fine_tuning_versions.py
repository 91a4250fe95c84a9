"""Versions come and go, and callers by name never notice but by better answers: gate, canary, rollback, restart."""

from __future__ import annotations

from collections import Counter

import pytest

from service.client import Client, IllegalMove, Job, NotFound
from tests.support.end_to_end.stubs import TRANSFORMER, assert_leaks_nothing
from tests.support.end_to_end.user_data import NEW_SENTENCES
from tests.support.end_to_end.workshop import TunedModels

FOOD = NEW_SENTENCES["food"]


@pytest.fixture(scope="module")
def later(made: TunedModels) -> dict[int, Job]:
    """Versions 2 (as good as the first) and 3 (an RNN that knows letters, where words are what matters) of `topics`."""
    bases = {2: TRANSFORMER, 3: "char_lstm"}
    jobs = {}
    for number, base in bases.items():
        jobs[number] = made.workshop.succeeded(made.client.create_job(base, made.data["topics"].id, "topics"))
    return jobs


@pytest.fixture(autouse=True)
def second_is_stable(made: TunedModels, later: dict[int, Job]) -> None:
    """As the gate left it, whatever the test before did."""
    made.client.set_canary("topics", 0, 0.0)
    if made.client.versions("topics").traffic.stable != 2:
        made.client.promote("topics", 2)


def answered(client: Client, calls: int, version: str = "") -> Counter[int]:
    """Which versions answered so many calls."""
    return Counter(client.predict("topics", FOOD, version=version)[0].version for _ in range(calls))


def test_gate_promotes_a_version_that_is_not_worse(made: TunedModels, later: dict[int, Job]) -> None:
    assert later[2].version == 2
    assert later[2].promotion_outcome.startswith("version 2 is stable: accuracy ")
    assert "and not worse than" in later[2].promotion_outcome
    rival = made.client.report("topics", 2).report["rival"]
    assert str(rival["version"]) == "1"
    assert rival["metrics"]["accuracy"] == made.client.report("topics", 1).report["metrics"]["accuracy"]["value"]
    assert answered(made.client, 3) == {2: 3}


def test_gate_does_not_promote_a_worse_version_which_serves_by_number(made: TunedModels, later: dict[int, Job]) -> None:
    assert later[3].version == 3
    assert "is worse than the" in later[3].promotion_outcome
    assert "of version 2, which stays stable" in later[3].promotion_outcome
    versions = made.client.versions("topics")
    assert [version.number for version in versions.versions] == [3, 2, 1]
    assert (versions.traffic.stable, versions.traffic.canary) == (2, 0)
    assert answered(made.client, 3, version="3") == {3: 3}


def test_rollback_restores_the_previous_stable_version(made: TunedModels) -> None:
    back = made.client.rollback("topics")
    assert (back.rolled_back, back.model.aliases["stable"]) == (2, 1)
    assert answered(made.client, 3) == {1: 3}


def test_canary_gets_its_share_of_requests_without_version(made: TunedModels) -> None:
    made.client.set_canary("topics", 3, 0.25)
    assert made.client.model("topics").aliases["canary"] == 3
    assert answered(made.client, 40) == {2: 30, 3: 10}
    assert answered(made.client, 5, version="stable") == {2: 5}
    assert answered(made.client, 5, version="canary") == {3: 5}
    made.client.set_canary("topics", 0, 0.0)
    assert answered(made.client, 8) == {2: 8}


def test_delete_of_an_aliased_version_is_rejected(made: TunedModels) -> None:
    for alias, number in (("stable", 2), ("favourite", 3)):
        made.client.set_alias("topics", alias, number)
        with pytest.raises(IllegalMove, match=alias) as refused:
            made.client.delete_version("topics", number)
        assert_leaks_nothing(refused.value.message)
    assert answered(made.client, 2, version="favourite") == {3: 2}
    made.client.delete_alias("topics", "favourite")
    with pytest.raises(NotFound):
        made.client.predict("topics", FOOD, version="favourite")


def test_unknown_version_is_not_found_by_its_number(made: TunedModels) -> None:
    for call in (
        lambda: made.client.predict("topics", FOOD, version="77"),
        lambda: made.client.promote("topics", 77),
        lambda: made.client.set_canary("topics", 77, 0.5),
        lambda: made.client.delete_version("topics", 77),
        lambda: made.client.report("topics", 77),
    ):
        with pytest.raises(NotFound, match="77") as refused:
            call()
        assert_leaks_nothing(refused.value.message)


def test_restart_keeps_aliases_canary_and_rollbacks(made: TunedModels) -> None:
    made.client.set_alias("topics", "favourite", 1)
    made.client.set_canary("topics", 3, 0.5)
    made.workshop.stop()
    made.workshop.start()
    traffic = made.client.versions("topics").traffic
    assert (traffic.stable, traffic.canary, traffic.canary_share) == (2, 3, 0.5)
    assert answered(made.client, 10) == {2: 5, 3: 5}
    assert answered(made.client, 2, version="favourite") == {1: 2}
    made.client.set_canary("topics", 0, 0.0)
    back = made.client.rollback("topics")
    assert back.model.aliases["stable"] == 1


def test_deleted_version_number_is_not_reused(made: TunedModels) -> None:
    made.client.promote("topics", 2)
    assert made.client.delete_version("topics", 3) > 0
    assert 3 not in made.client.model("topics").versions
    with pytest.raises(NotFound):
        made.client.predict("topics", FOOD, version="3")
    job = made.client.create_job("char_lstm", made.data["topics"].id, "topics", promote=False)
    assert made.workshop.succeeded(job).version == 4
    assert answered(made.client, 2) == {2: 2}
