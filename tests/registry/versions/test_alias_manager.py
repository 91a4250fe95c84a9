"""Versions, aliases, promotion, canary and rollback, over the real registry with fake networks."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from model_zoo.versions import Versions
from service.database import DatabaseUnavailable
from service.errors import IllegalMove, InvalidInput, NotFound, NotReady
from service.registry.rollout.canary import Bounds
from service.registry.states import ModelState
from service.registry.versions.aliases import AliasMove, AliasSet
from service.registry.versions.revisioned_aliases import InMemoryAliases, do_nothing
from tests.support.registry_internals import writes_in_progress
from tests.support.scheduler_fakes import until
from tests.support.tuned_versions import publish, report
from tests.support.tuned_worlds import SlowAliases, ask, grow, served

pytestmark = pytest.mark.asyncio

READY, UNAVAILABLE = ModelState.READY, ModelState.UNAVAILABLE


# ── from publishing to serving ────────────────────────────────────────────────────────────────────────────────────────


async def test_good_first_version_becomes_stable_and_a_better_one_replaces_it(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        assert await ask(w, "mood") == (1, 3.0)
        await grow(w, tmp_path, "mood", 2.0)
        assert await ask(w, "mood") == (2, 6.0)
        assert await ask(w, "mood", "stable") == (2, 6.0)
        assert await ask(w, "mood", "1") == (1, 3.0)
        newest, oldest = w.registry.versions("mood")
        assert (newest.number, newest.aliases, newest.state) == (2, ("stable",), READY)
        assert (oldest.number, oldest.aliases, oldest.state) == (1, (), READY), "a rollback would lead there"
        assert newest.lineage is not None
        assert newest.lineage["method"] == "head"
        assert newest.created == 1.7e9
        assert newest.size_bytes > 1000


async def test_first_version_that_fails_the_gate_serves_by_its_number_only(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        outcome = await w.registry.take("mood", publish(tmp_path, "mood", 1.0, said=report(0.4, 0.5)))
        assert outcome == (
            "version 1 serves by its number and is not stable: accuracy 0.4 is not better than the baseline's 0.5 "
            "(always the commonest class)"
        )
        assert await ask(w, "mood", "1") == (1, 3.0)
        with pytest.raises(NotFound) as caught:
            await ask(w, "mood")
        assert caught.value.message == (
            "unknown version 'stable'; model 'mood' has versions 1; none has become 'stable' yet, so call one by its number, "
            "or promote it"
        )
        assert w.registry.traffic("mood").stable == 0
        await w.registry.set_alias("mood", "stable", 1)
        assert await ask(w, "mood") == (1, 3.0)


async def test_worse_version_leaves_stable_unchanged(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        outcome = await w.registry.take("mood", publish(tmp_path, "mood", 2.0, said=report(0.6, 0.5, (1, 0.9))))
        assert "accuracy 0.6 is worse than the 0.9 of version 1, which stays stable" in outcome
        assert await ask(w, "mood") == (1, 3.0)
        assert await ask(w, "mood", "2") == (2, 6.0)


async def test_version_taken_ungated_is_not_promoted(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        outcome = await w.registry.take("mood", publish(tmp_path, "mood"), gated=False)
        assert outcome == "version 1 serves by its number; promotion was not asked for"


async def test_tuned_model_with_a_zoo_name_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        with pytest.raises(IllegalMove, match="'adder' is a model of the zoo"):
            await w.registry.add_version("adder", publish(tmp_path, "adder"))
        with pytest.raises(InvalidInput, match=r"spec\.model: 'adder' is a model of the zoo"):
            w.registry.check_new_name("adder", "spec.model")
        w.registry.check_new_name("mood")
    async with served(tmp_path) as w:  # nor after a restart
        assert [s.name for s in w.registry.statuses()] == ["adder"]
        assert w.registry.versions("adder")[0].lineage is None


async def test_unknown_tuned_version_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        await w.registry.set_alias("mood", "own", 1)
        for version in ("3", "0", "-1", "01", "9" * 400, "canary", "STABLE", "²", "1.0", "../1"):
            with pytest.raises(NotFound) as caught:
                w.registry.resolve("mood", version)
            assert "model 'mood' has versions 1, 2; 'own' is 1, 'stable' is 2" in caught.value.message
        with pytest.raises(NotFound, match="version 7"):
            await w.registry.add_version("mood", 7)
        with pytest.raises(NotFound):
            await w.registry.add_version("../mood", 1)


# ── aliases ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_custom_alias_can_be_moved_and_removed(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        status = await w.registry.set_alias("mood", "friday-demo", 1)
        assert dict(status.aliases) == {"friday-demo": 1, "stable": 2}
        assert await ask(w, "mood", "friday-demo") == (1, 3.0)
        await w.registry.set_alias("mood", "friday-demo", 2)
        assert await ask(w, "mood", "friday-demo") == (2, 6.0)
        await w.registry.delete_alias("mood", "friday-demo")
        with pytest.raises(NotFound):
            await ask(w, "mood", "friday-demo")


@pytest.mark.parametrize("alias", ["", "1", "Stable", "a b", "-x", "ä", "a" * 64, "a/b", "x\n"])
async def test_alias_that_is_no_word_is_refused(tmp_path: Path, alias: str) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        with pytest.raises(InvalidInput, match="alias: expected lower-case letters"):
            await w.registry.set_alias("mood", alias, 1)


async def test_alias_change_of_unknown_targets_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        with pytest.raises(NotFound, match="unknown version '5'"):
            await w.registry.set_alias("mood", "stable", 5)
        with pytest.raises(IllegalMove, match="'stable' cannot be removed"):
            await w.registry.delete_alias("mood", "stable")
        with pytest.raises(NotFound, match="unknown alias 'canary'"):
            await w.registry.delete_alias("mood", "canary")
        for verb in (
            w.registry.set_alias("adder", "x", 1),
            w.registry.rollback("adder"),
            w.registry.set_traffic("adder", 1, 0.5),
        ):
            with pytest.raises(IllegalMove, match="'adder' is a model of the zoo: it has version 1, which is 'stable'"):
                await verb
        with pytest.raises(NotFound, match="unknown model 'mod'; did you mean 'mood'"):
            await w.registry.set_alias("mod", "stable", 1)


async def test_stable_alias_to_an_unloadable_version_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        number = publish(tmp_path, "mood", 2.0, golden=[(1.0, -1.0)])
        with pytest.raises(NotReady, match="golden check failed"):
            await w.registry.add_version("mood", number)
        with pytest.raises(NotReady, match="golden check failed"):
            await w.registry.set_alias("mood", "stable", number)
        assert w.registry.traffic("mood").stable == 1
        assert await ask(w, "mood") == (1, 3.0)


async def test_calls_during_stable_moves_never_fail(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        for slope in (2.0, 3.0):
            await w.registry.add_version("mood", publish(tmp_path, "mood", slope))
        stop = asyncio.Event()
        seen: set[int] = set()

        async def keep_asking() -> int:
            calls = 0
            while not stop.is_set():
                number, value = await ask(w, "mood")
                assert value == 3.0 * number
                seen.add(number)
                calls += 1
            return calls

        callers = [asyncio.create_task(keep_asking()) for _ in range(4)]
        for number in (2, 3, 1, 2, 3):
            await w.registry.set_alias("mood", "stable", number)
            await until(lambda number=number: number in seen)
            seen.clear()
        stop.set()
        assert all(await asyncio.gather(*callers))


async def test_unnamed_version_is_unloaded_and_reloaded_by_a_call_by_number(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        await until(lambda: w.registry.versions("mood")[-1].state is UNAVAILABLE)
        states = {v.number: v.state for v in w.registry.versions("mood")}
        assert states == {3: READY, 2: READY, 1: UNAVAILABLE}
        assert await ask(w, "mood", "1") == (1, 3.0)


# ── rollback ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_repeated_rollback_goes_back_step_by_step(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (3, 2)
        assert await ask(w, "mood") == (2, 6.0)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (2, 1)
        assert await ask(w, "mood") == (1, 3.0)
        with pytest.raises(IllegalMove, match="no version of model 'mood' was stable before the one that is"):
            await w.registry.rollback("mood")


async def test_rollback_skips_a_deleted_version(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        await w.registry.delete_version("mood", 2)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (3, 1)


# ── restart ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_restart_restores_aliases_traffic_and_rollback_history(tmp_path: Path) -> None:
    kept = InMemoryAliases()
    async with served(tmp_path, kept) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 4.0))
        await w.registry.set_alias("mood", "own", 1)
        await w.registry.set_traffic("mood", 4, 0.25)
        before = w.registry.traffic("mood")
    async with served(tmp_path, kept) as w:
        assert w.registry.traffic("mood") == before
        states = {v.number: (v.state, v.aliases) for v in w.registry.versions("mood")}
        assert states == {
            4: (READY, ("canary",)),
            3: (READY, ("stable",)),
            2: (UNAVAILABLE, ()),
            1: (UNAVAILABLE, ("own",)),
        }, "what is in service is loaded, the rest waits for a call"
        assert await ask(w, "mood", "own") == (1, 3.0)
        assert await ask(w, "mood", "2") == (2, 6.0)
        status, left = await w.registry.rollback("mood")
        assert (left, status.traffic.stable) == (3, 2)


async def test_alias_of_a_version_removed_by_hand_is_ignored_after_restart(tmp_path: Path) -> None:
    kept = InMemoryAliases()
    async with served(tmp_path, kept) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
    Versions(tmp_path).delete("mood", 2)
    async with served(tmp_path, kept) as w:
        assert w.registry.traffic("mood").stable == 0
        assert await ask(w, "mood", "1") == (1, 3.0)


async def test_damaged_version_at_start_is_left_out_while_others_serve(tmp_path: Path) -> None:
    kept = InMemoryAliases()
    async with served(tmp_path, kept) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
    (tmp_path / "versions" / "mood" / "1" / "card.json").write_text("{")
    async with served(tmp_path, kept) as w:
        assert [v.number for v in w.registry.versions("mood")] == [2]
        assert await ask(w, "mood") == (2, 6.0)


# ── canary ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("share", "expected"), [(0.1, 10), (0.25, 25), (1.0, 100), (0.33, 33)])
async def test_canary_gets_exactly_its_share_of_calls_without_a_version(
    tmp_path: Path, share: float, expected: int
) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        status = await w.registry.set_traffic("mood", 2, share)
        assert (status.traffic.stable, status.traffic.canary, status.traffic.canary_share) == (1, 2, share)
        numbers = [(await ask(w, "mood"))[0] for _ in range(100)]
        assert numbers.count(2) == expected
        assert {(await ask(w, "mood", "stable"))[0] for _ in range(10)} == {1}, "a call that names a version gets it"
        assert {(await ask(w, "mood", "canary"))[0] for _ in range(10)} == {2}


async def test_call_resolved_then_inferred_counts_once_for_the_canary_share(tmp_path: Path) -> None:
    """The fast path of the pipeline may resolve a request that then takes the full path."""
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)
        numbers = []
        for _ in range(10):
            w.inference.find_ready("mood", "")
            numbers.append((await ask(w, "mood"))[0])
        assert numbers.count(2) == 5


async def test_canary_with_zero_share_or_promotion_ends(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)
        status = await w.registry.set_traffic("mood", 0, 0.0)
        assert (status.traffic.canary, status.traffic.canary_share) == (0, 0.0)
        assert {(await ask(w, "mood"))[0] for _ in range(10)} == {1}
        await w.registry.set_traffic("mood", 2, 0.5)
        status = await w.registry.set_alias("mood", "stable", 2)
        assert (status.traffic.stable, status.traffic.canary, status.traffic.canary_share) == (2, 0, 0.0)


async def test_invalid_traffic_split_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await w.registry.take("mood", publish(tmp_path, "mood", 1.0), gated=False)
        with pytest.raises(IllegalMove, match="no stable version"):
            await w.registry.set_traffic("mood", 1, 0.5)
        await w.registry.set_alias("mood", "stable", 1)
        for share in (-0.1, 1.1, float("nan"), float("inf")):
            with pytest.raises(InvalidInput, match=r"canary_share: expected 0\.\.1"):
                await w.registry.set_traffic("mood", 1, share)
        with pytest.raises(InvalidInput, match="version 1 is stable already"):
            await w.registry.set_traffic("mood", 1, 0.5)
        with pytest.raises(NotFound):
            await w.registry.set_traffic("mood", 3, 0.5)
        with pytest.raises(InvalidInput, match="canary: expected the number of a version, got 0"):
            await w.registry.set_traffic("mood", 0, 0.5)


async def test_unloaded_canary_gets_no_calls(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)
        await w.registry.unload("mood", "2")
        assert {(await ask(w, "mood"))[0] for _ in range(10)} == {1}


async def test_failing_canary_loses_its_share(tmp_path: Path) -> None:
    kept = InMemoryAliases()
    async with served(tmp_path, kept, bounds=Bounds(least_calls=10, least_errors=3)) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 0.5)

        def fail(*_: object) -> Any:
            raise RuntimeError

        cast(Any, w.registry.resolve("mood", "2")).head.run = fail
        for _ in range(100):
            await w.inference.infer(w.request("1", model="mood"))
            if not w.registry.traffic("mood").canary_share:
                break
        traffic = w.registry.traffic("mood")
        assert (traffic.stable, traffic.canary, traffic.canary_share) == (1, 2, 0.0)
        assert traffic.rolled_back_reason.startswith("10 of its last 10 calls failed (100.0%)")
        assert w.sample("zoo_canary_rollbacks_total", model="mood") == 1
        assert {(await ask(w, "mood"))[0] for _ in range(10)} == {1}
        await until(lambda: kept.stored["mood"].aliases.rolled_back_reason)
        assert kept.stored["mood"].aliases.canary_share == 0.0
    async with served(tmp_path, kept) as w:
        assert w.registry.traffic("mood") == traffic


async def test_invalid_requests_do_not_count_against_the_canary(tmp_path: Path) -> None:
    async with served(tmp_path, bounds=Bounds(least_calls=5, least_errors=1)) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.add_version("mood", publish(tmp_path, "mood", 2.0))
        await w.registry.set_traffic("mood", 2, 1.0)
        for _ in range(50):
            await w.inference.infer(w.request("bad", model="mood"))
        assert w.registry.traffic("mood").canary_share == 1.0


async def test_versions_without_a_traffic_split_are_not_observed(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0)
        assert w.registry.resolve("mood").on_outcome is None
        assert w.registry.status("adder").state is READY
        assert w.registry.resolve("adder").on_outcome is None


# ── deleting, unloading, reports ──────────────────────────────────────────────────────────────────────────────────────


async def test_version_without_an_alias_can_be_deleted(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        with pytest.raises(IllegalMove, match="version 2 of model 'mood' is 'stable'; point that elsewhere first"):
            await w.registry.delete_version("mood", 2)
        assert await w.registry.delete_version("mood", 1) > 1000
        assert Versions(tmp_path).numbers("mood") == [2]
        with pytest.raises(NotFound):
            await ask(w, "mood", "1")
        assert publish(tmp_path, "mood", 3.0) == 3


async def test_model_whose_last_version_is_deleted_is_removed(tmp_path: Path) -> None:
    kept = InMemoryAliases()
    async with served(tmp_path, kept) as w:
        await w.registry.take("mood", publish(tmp_path, "mood", 1.0, said=report(0.1, 0.5)))
        await w.registry.delete_version("mood", 1)
        assert [s.name for s in w.registry.statuses()] == ["adder"]
        with pytest.raises(NotFound, match="unknown model 'mood'"):
            w.registry.status("mood")
        assert kept.stored["mood"].aliases == AliasSet()
        outcome = await w.registry.take("mood", publish(tmp_path, "mood", 2.0))
        assert outcome.startswith("version 2 is stable: "), "one of the same name starts afresh"
        with pytest.raises(IllegalMove, match="no version of model 'mood' was stable before"):
            await w.registry.rollback("mood")


async def test_unload_of_a_tuned_model_unloads_all_versions(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        done = await w.registry.unload("mood")
        assert done.status.state is UNAVAILABLE
        assert {v.state for v in w.registry.versions("mood")} == {UNAVAILABLE}
        with pytest.raises(NotReady, match="version 2 of model 'mood' is unavailable: unloaded"):
            await ask(w, "mood")
        await w.registry.load("mood")
        assert await ask(w, "mood") == (2, 6.0)


async def test_report_belongs_to_the_requested_version(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        found = await w.registry.report("mood")
        assert (found.version, found.report["primary"], found.html.decode()) == (2, "accuracy", "<p>ü</p>")
        assert (await w.registry.report("mood", "1")).version == 1
        with pytest.raises(NotFound, match="only fine-tuned versions have one"):
            await w.registry.report("adder")


async def test_states_are_reported_per_version_and_per_model(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        await w.registry.unload("mood", "1")
        assert w.registry.status("mood").state is READY
        assert w.registry.status("mood", "1").state is UNAVAILABLE
        assert w.registry.status("mood", "2").state is READY
        assert w.registry.status("mood").versions == (2,)
        moods = [state for name, state in w.moves if name == "mood"]
        assert moods == [ModelState.LOADING, READY], "listeners hear of the model, not of its every version"
        assert w.sample("zoo_model_state", model="mood", state="READY") == 1


# ── versions that are networks of their own ───────────────────────────────────────────────────────────────────────────


async def test_full_version_has_its_own_queue_and_ledger_holding(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        for i in (1, 2):
            said = report(0.8, 0.5, (1, 0.7) if i == 2 else None)
            await w.registry.take("own", publish(tmp_path, "own", float(i), method="full", said=said))
        assert {v.number: v.memory_bytes for v in w.registry.versions("own")} == {2: 4096, 1: 4096}
        assert w.registry.ledger.total == 2 * 4096
        assert await ask(w, "own") == (2, 3.0)
        assert await ask(w, "own", "1") == (1, 3.0)
        assert w.registry.status("adder").state is UNAVAILABLE, "it needs no base"
        first, second = (cast(Any, w.registry.resolve("own", str(n))).runtime for n in (1, 2))
        assert (first.batches, second.batches) == ([[1.0]], [[1.0]])
        assert w.sample("zoo_model_memory_bytes", model="own", version="2") == 4096
        await w.registry.delete_version("own", 1)
        assert first.freed
        assert w.registry.ledger.total == 4096


async def test_options_apply_to_all_versions_of_a_model(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        for i in (1, 2):
            await w.registry.take("own", publish(tmp_path, "own", float(i), method="full"), gated=False)
        w.registry.set_options("own", {"max_batch_size": 2, "default_timeout_ms": 5000.0})
        for number in ("1", "2"):
            limits = w.registry.resolve("own", number).limits
            assert (limits.max_batch_size, limits.default_timeout_s) == (2, 5.0)
        await w.registry.take("own", publish(tmp_path, "own", 3.0, method="full"), gated=False)
        assert w.registry.resolve("own", "3").limits.max_batch_size == 2


async def test_concurrent_publishes_are_both_served(tmp_path: Path) -> None:
    async with served(tmp_path) as w:
        numbers = await asyncio.gather(
            *(asyncio.to_thread(publish, tmp_path, "mood", float(i), job_id=str(i)) for i in (1, 2))
        )
        assert sorted(numbers) == [1, 2]
        outcomes = await asyncio.gather(*(w.registry.take("mood", number) for number in numbers))
        assert sum("is stable:" in outcome for outcome in outcomes) >= 1
        assert w.registry.traffic("mood").stable in (1, 2)
        for number in numbers:
            assert (await ask(w, "mood", str(number)))[0] == number


# ── a database that takes its time, or does not answer ────────────────────────────────────────────────────────────────


async def test_concurrent_rollbacks_apply_one_and_reject_the_other(tmp_path: Path) -> None:
    kept = SlowAliases()
    async with served(tmp_path, kept) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0, 3.0)
        kept.let.clear()
        twice = [asyncio.create_task(w.registry.rollback("mood")) for _ in range(2)]
        await until(lambda: writes_in_progress(w) == 2)  # both have looked
        kept.let.set()
        _, second = await asyncio.gather(*twice, return_exceptions=True)
        assert isinstance(second, IllegalMove), second
        assert w.registry.traffic("mood").stable == 2
        assert (await ask(w, "mood"))[0] == 2


async def test_alias_change_whose_caller_leaves_is_stored_and_activated(tmp_path: Path) -> None:
    kept = SlowAliases()
    async with served(tmp_path, kept) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        kept.let.clear()
        leaving = asyncio.create_task(w.registry.rollback("mood"))
        before = kept.asked
        await until(lambda: kept.asked > before)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        kept.let.set()
        await until(lambda: w.registry.traffic("mood").stable == 1)
        assert kept.stored["mood"].aliases.stable == 1


async def test_canary_failing_during_an_alias_write_stays_without_its_share(tmp_path: Path) -> None:
    kept = SlowAliases()
    async with served(tmp_path, kept, bounds=Bounds(least_calls=4)) as w:
        await grow(w, tmp_path, "mood", 1.0)
        await w.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        await w.registry.set_traffic("mood", 2, 1.0)
        kept.let.clear()
        naming = asyncio.create_task(w.registry.set_alias("mood", "own", 1))
        before = kept.asked
        await until(lambda: kept.asked > before)
        watch = w.registry.resolve("mood", "2").on_outcome
        assert watch is not None
        for _ in range(4):
            watch(True, 0.01)
        assert w.registry.traffic("mood").canary_share == 0.0
        kept.let.set()
        await naming
        await until(lambda: kept.stored["mood"].aliases.canary_share == 0.0)
        traffic = w.registry.traffic("mood")
        assert (traffic.canary, traffic.canary_share) == (2, 0.0)
        assert "4 of its last 4 calls failed" in traffic.rolled_back_reason
        assert w.registry.status("mood").aliases["own"] == 1


@pytest.mark.parametrize("alone", [True, False])
async def test_deletion_refused_by_the_database_leaves_the_version(tmp_path: Path, alone: bool) -> None:
    kept = SlowAliases()
    async with served(tmp_path, kept) as w:
        await w.registry.take("mood", publish(tmp_path, "mood", 1.0), gated=False)
        if not alone:
            await w.registry.take("mood", publish(tmp_path, "mood", 2.0), gated=False)
        kept.trouble = DatabaseUnavailable("away")
        with pytest.raises(DatabaseUnavailable):
            await w.registry.delete_version("mood", 1)
        assert Versions(tmp_path).numbers("mood")[0] == 1
        await w.registry.load("mood", "1")
        assert await ask(w, "mood", "1") == (1, 3.0)
        assert await w.registry.delete_version("mood", 1) > 0
        assert 1 not in Versions(tmp_path).numbers("mood")


async def test_deletion_rolled_back_by_the_database_restores_the_files(tmp_path: Path) -> None:
    class Breaking(InMemoryAliases):
        async def write(
            self,
            model: str,
            names: AliasSet,
            moves: Sequence[AliasMove],
            revision: int,
            meanwhile: Callable[[], None] = do_nothing,
        ) -> int:
            meanwhile()
            if meanwhile is not do_nothing and moves and moves[-1].reason == "deleted":
                raise DatabaseUnavailable("away")  # when it was about to commit
            return await super().write(model, names, moves, revision)

    async with served(tmp_path, Breaking()) as w:
        await grow(w, tmp_path, "mood", 1.0, 2.0)
        with pytest.raises(DatabaseUnavailable):
            await w.registry.delete_version("mood", 1)
        assert await ask(w, "mood", "1") == (1, 3.0)
        assert Versions(tmp_path).numbers("mood") == [1, 2]
