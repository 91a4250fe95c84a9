"""Which models make room for another one: the least recently used, as few as possible, none in vain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from model_zoo.cards.weight_source import TunedSource
from service.errors import MemoryFull
from service.registry.loading.eviction_policy import BUSY_RETRY_S, choose_victims
from service.registry.loading.memory_ledger import MIB, Holding, Ledger
from service.registry.model_version import ModelVersion
from service.registry.states import ModelState
from service.runtime.network import SharedPart
from service.settings import ModelOptions
from tests.support.registry.fakes import card

SHARED = SharedPart("d" * 64, 30 * MIB)


class Host:
    """A budget, and models on it that were used in the order in which they are added."""

    def __init__(self, budget_mib: int) -> None:
        self.ledger = Ledger(budget_mib=budget_mib)
        self.versions: list[ModelVersion] = []

    def add(
        self, name: str, mib: int, *, pinned: bool = False, waiters: int = 0, shared: SharedPart | None = None
    ) -> ModelVersion:
        version = model(name, pinned=pinned)
        version.state = ModelState.READY
        version.waiters = waiters
        version.last_used = float(len(self.versions))
        self.ledger.loaded(version.key, mib * MIB, None, False, shared)
        self.versions.append(version)
        return version

    def victims(
        self, mib: int, shared: SharedPart | None = None, of: Iterable[ModelVersion] | None = None
    ) -> list[str]:
        """The names of those that are evicted for a model of this size."""
        chosen = choose_victims(
            self.ledger, model("new"), Holding(mib * MIB, shared=shared), self.versions if of is None else of
        )
        return [version.name for version in chosen]


def model(name: str, pinned: bool = False, **changes: Any) -> ModelVersion:
    return ModelVersion(card(name, **changes), ModelOptions(), ModelOptions(pinned=pinned), reloads_on_call=True)


def head(name: str, base: ModelVersion, pinned: bool = False, waiters: int = 0) -> ModelVersion:
    """A READY head on `base`."""
    source = TunedSource(kind="tuned", base=base.name, base_digest="0" * 64, method="head", files={})
    tuned = card(name).model_copy(update={"source": source})
    version = ModelVersion(tuned, ModelOptions(), ModelOptions(pinned=pinned), reloads_on_call=True, base=base)
    version.state, version.waiters = ModelState.READY, waiters
    base.heads.append(version)
    return version


def test_model_that_fits_evicts_nothing() -> None:
    host = Host(100)
    host.add("a", 60)
    assert host.victims(40) == []


def test_model_without_a_budget_evicts_nothing() -> None:
    host = Host(0)
    host.add("a", 10_000)
    assert host.victims(10_000) == []


@pytest.mark.parametrize(("mib", "evicted"), [(1, ["a"]), (40, ["a"]), (41, ["a", "b"]), (100, ["a", "b", "c"])])
def test_least_recently_used_models_are_evicted_and_no_more_than_needed(mib: int, evicted: list[str]) -> None:
    host = Host(100)
    for name, size in (("a", 40), ("b", 40), ("c", 20)):
        host.add(name, size)
    assert host.victims(mib) == evicted


def test_order_of_use_decides_and_not_the_order_of_the_models() -> None:
    host = Host(100)
    for name in "ab":
        host.add(name, 50)
    assert host.victims(10, of=reversed(host.versions)) == ["a"]
    host.versions[0].last_used = 9.0
    assert host.victims(10) == ["b"]


def test_pinned_model_and_model_in_use_stay_though_they_were_used_least_recently() -> None:
    host = Host(120)
    host.add("pinned", 40, pinned=True)
    host.add("busy", 40, waiters=1)
    host.add("idle", 40)
    assert host.victims(40) == ["idle"]


def test_model_that_is_not_ready_is_not_evicted() -> None:
    host = Host(100)
    host.add("leaving", 50).state = ModelState.UNLOADING
    host.add("idle", 50)
    assert host.victims(50) == ["idle"]


def test_model_never_makes_room_for_itself() -> None:
    host = Host(100)
    grown, _ = host.add("grown", 50), host.add("idle", 50)
    assert [v.name for v in choose_victims(host.ledger, grown, Holding(10 * MIB), host.versions)] == ["idle"]


def test_head_is_evicted_with_its_base_and_not_by_itself() -> None:
    host = Host(50)
    base = host.add("base", 50)
    assert host.victims(50, of=[head("head", base), base]) == ["base"]


@pytest.mark.parametrize(("pinned", "waiters", "why"), [(True, 0, r"pinned: base"), (False, 1, r"in use: base")])
def test_head_that_is_pinned_or_awaited_keeps_its_base(pinned: bool, waiters: int, why: str) -> None:
    host = Host(50)
    base = host.add("base", 50)
    kept = head("head", base, pinned, waiters)
    with pytest.raises(MemoryFull, match=rf"50\.0 MiB cannot be freed now \({why}\)$"):
        host.victims(50, of=[kept, base])


def test_model_that_shares_weights_with_the_new_one_is_evicted_last() -> None:
    host = Host(100)
    host.add("sibling", 40, shared=SHARED)
    host.add("other", 60)
    assert host.victims(40, SHARED) == ["other"]


# ── no room ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_model_larger_than_the_budget_is_refused_with_its_size_and_no_hint_to_retry() -> None:
    host = Host(100)
    host.add("a", 50)
    with pytest.raises(MemoryFull) as caught:
        host.victims(101)
    assert caught.value.message == (
        "model 'new' needs 101.0 MiB of the memory budget of 100 MiB, of which 0.0 MiB cannot be freed now"
    )
    assert caught.value.retry_after_s is None


def test_refusal_names_the_models_that_stay_and_their_memory() -> None:
    host = Host(100)
    host.add("a", 10, pinned=True)
    host.add("b", 20, pinned=True)
    host.add("c", 30, waiters=1)
    host.add("idle", 15)
    with pytest.raises(MemoryFull, match=r"of which 60\.0 MiB cannot be freed now \(pinned: a, b; in use: c\)$"):
        host.victims(60)


def test_refusal_counts_only_the_memory_that_the_model_would_add() -> None:
    host = Host(50)
    host.add("sibling", 40, pinned=True, shared=SHARED)
    with pytest.raises(MemoryFull, match=r"^model 'new' needs 12\.0 MiB of the memory budget of 50 MiB"):
        host.victims(42, SHARED)


def test_refusal_hints_at_a_retry_where_models_in_use_would_free_enough() -> None:
    host = Host(100)
    host.add("pinned", 40, pinned=True)
    host.add("busy", 60, waiters=1)
    with pytest.raises(MemoryFull) as caught:
        host.victims(60)
    assert caught.value.retry_after_s == BUSY_RETRY_S
    with pytest.raises(MemoryFull) as caught:
        host.victims(61)
    assert caught.value.retry_after_s is None, "the pinned model leaves no room for it"
