"""Each change of the aliases of a model gives the new aliases and the moves that led there, and changes nothing in place."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from service.registry.versions.aliases import (
    CANARY,
    DELETED,
    ROLLBACK,
    STABLE,
    AliasChange,
    AliasMove,
    AliasSet,
    drop_version,
    in_effect,
    keep_stable,
    point_alias,
    remove_alias,
    replay_stable,
    restrict_to,
    roll_back,
    split_traffic,
    stop_canary,
)

ON_TRIAL = AliasSet({STABLE: 1, CANARY: 2}, 0.25)
STOPPED = AliasSet({STABLE: 1, CANARY: 2}, 0.0, "too slow")


def test_aliases_of_a_version_are_listed_in_order() -> None:
    aliases = AliasSet({"own": 1, STABLE: 1, "best": 1, CANARY: 2}, 0.25)
    assert (aliases.of(1), aliases.of(2), aliases.of(3)) == (("best", "own", STABLE), (CANARY,), ())
    assert aliases.split == (1, 2, 0.25)
    assert AliasSet().split == (None, None, 0.0)


# ── an alias is set or removed ────────────────────────────────────────────────────────────────────────────────────


def test_first_stable_version_has_no_version_to_go_back_to() -> None:
    aliases, moves = point_alias(AliasSet(), STABLE, 1, "first")
    assert aliases == AliasSet({STABLE: 1})
    assert moves == [AliasMove(STABLE, None, 1, "first")]


def test_next_stable_version_remembers_those_before_it_the_latest_last() -> None:
    aliases = AliasSet()
    for number in (1, 2, 1, 3):
        aliases, moves = point_alias(aliases, STABLE, number)
    assert (aliases.stable, aliases.previous_stable) == (3, (1, 2, 1))
    assert moves == [AliasMove(STABLE, 1, 3)]


def test_alias_that_names_the_version_already_does_not_move() -> None:
    assert point_alias(STOPPED, CANARY, 2) == (STOPPED, ())
    assert point_alias(ON_TRIAL, STABLE, 1) == (ON_TRIAL, ())


def test_alias_of_an_own_name_leaves_the_canary_and_the_history_alone() -> None:
    before = replace(STOPPED, previous_stable=(4,))
    aliases, moves = point_alias(before, "own", 2)
    assert aliases == replace(before, targets={STABLE: 1, CANARY: 2, "own": 2})
    assert moves == [AliasMove("own", None, 2)]


def test_canary_that_becomes_stable_is_no_canary_any_more() -> None:
    aliases, moves = point_alias(ON_TRIAL, STABLE, 2, "won")
    assert aliases == AliasSet({STABLE: 2}, 0.0, "", (1,))
    assert moves == [AliasMove(STABLE, 1, 2, "won"), AliasMove(CANARY, 2, None, "promoted")]


def test_canary_keeps_its_share_when_another_version_becomes_stable() -> None:
    aliases, _ = point_alias(ON_TRIAL, STABLE, 3)
    assert aliases == AliasSet({STABLE: 3, CANARY: 2}, 0.25, "", (1,))


@pytest.mark.parametrize("before", [ON_TRIAL, STOPPED])
def test_another_canary_begins_without_the_share_and_the_finding_of_the_last_one(before: AliasSet) -> None:
    aliases, moves = point_alias(before, CANARY, 3)
    assert aliases == AliasSet({STABLE: 1, CANARY: 3})
    assert moves == [AliasMove(CANARY, 2, 3)]


def test_removed_alias_leaves_the_other_aliases() -> None:
    before = AliasSet({**STOPPED.targets, "own": 2}, 0.0, "too slow", (4,))
    aliases, moves = remove_alias(before, "own")
    assert aliases == replace(STOPPED, previous_stable=(4,))
    assert moves == [AliasMove("own", 2, None)]


@pytest.mark.parametrize("before", [ON_TRIAL, STOPPED])
def test_removed_canary_takes_its_share_and_its_finding_along(before: AliasSet) -> None:
    assert remove_alias(before, CANARY) == (AliasSet({STABLE: 1}), [AliasMove(CANARY, 2, None)])


# ── traffic is split ──────────────────────────────────────────────────────────────────────────────────────────────


def test_canary_gets_its_share_of_the_traffic() -> None:
    aliases, moves = split_traffic(AliasSet({STABLE: 1}, previous_stable=(4,)), 2, 0.5)
    assert aliases == AliasSet({STABLE: 1, CANARY: 2}, 0.5, "", (4,))
    assert moves == [AliasMove(CANARY, None, 2)]


def test_other_share_of_the_same_canary_is_no_move() -> None:
    assert split_traffic(ON_TRIAL, 2, 0.75) == (replace(ON_TRIAL, canary_share=0.75), [])


def test_stopped_canary_keeps_its_alias_and_the_reason() -> None:
    assert stop_canary(ON_TRIAL, "too slow") == (STOPPED, [AliasMove(CANARY, 2, 2, "too slow")])


def test_stopped_canary_that_is_tried_again_loses_the_reason_and_is_a_move() -> None:
    assert split_traffic(STOPPED, 2, 0.25) == (ON_TRIAL, [AliasMove(CANARY, 2, 2)])


# ── rollback and deletion ─────────────────────────────────────────────────────────────────────────────────────────


def test_rollback_leads_to_the_version_before_and_not_back_again() -> None:
    before = AliasSet({STABLE: 3, CANARY: 4}, 0.25, "", (1, 2))
    aliases, moves = roll_back(before)
    assert aliases == AliasSet({STABLE: 2, CANARY: 4}, 0.25, "", (1,))
    assert moves == [AliasMove(STABLE, 3, 2, ROLLBACK)]
    assert roll_back(aliases)[0] == AliasSet({STABLE: 1, CANARY: 4}, 0.25)


def test_rollback_to_the_canary_ends_its_trial() -> None:
    aliases, moves = roll_back(AliasSet({STABLE: 3, CANARY: 2}, 0.25, "", (2,)))
    assert aliases == AliasSet({STABLE: 2})
    assert moves == [AliasMove(STABLE, 3, 2, ROLLBACK), AliasMove(CANARY, 2, None, "promoted")]


def test_deleted_version_is_no_target_of_a_rollback() -> None:
    before = AliasSet({STABLE: 4}, 0.0, "", (1, 2, 3, 2))
    aliases, moves = drop_version(before, 2)
    assert aliases == AliasSet({STABLE: 4}, 0.0, "", (1, 3))
    assert moves == [AliasMove(STABLE, 2, None, DELETED)]
    assert drop_version(aliases, 2) == (aliases, ()), "it is deleted once"


@pytest.mark.parametrize("seed", range(10))
def test_moves_of_any_changes_lead_to_the_same_rollback_targets(seed: int) -> None:
    draw, aliases, moves = random.Random(seed), AliasSet(), list[AliasMove]()
    for _ in range(60):
        number = draw.randint(1, 5)
        choice = draw.choice([STABLE, STABLE, "own", CANARY, ROLLBACK, DELETED])
        change: AliasChange = (aliases, ())
        if choice == ROLLBACK and aliases.previous_stable:
            change = roll_back(aliases)
        elif choice == DELETED and not aliases.of(number):
            change = drop_version(aliases, number)
        elif choice == CANARY:
            change = split_traffic(aliases, number, 0.5)
        elif choice in (STABLE, "own"):
            change = point_alias(aliases, choice, number)
        aliases = change[0]
        moves += change[1]
        assert replay_stable(moves) == aliases.previous_stable, (choice, number)


# ── aliases in effect ─────────────────────────────────────────────────────────────────────────────────────────────


def test_old_stable_version_gets_all_traffic_while_the_new_one_is_loaded() -> None:
    after = replace(ON_TRIAL, previous_stable=(4,))
    assert keep_stable(after, 4) == AliasSet({STABLE: 4, CANARY: 2}, 0.0, "", (4,))


def test_aliases_of_versions_that_exist_are_unchanged() -> None:
    before = replace(ON_TRIAL, previous_stable=(4, 5, 4))
    assert restrict_to(before, {1, 2, 4, 5}) == before


@pytest.mark.parametrize(("gone", "left"), [(1, {CANARY: 2}), (2, {STABLE: 1})])
def test_version_that_does_not_exist_has_no_alias_and_no_share(gone: int, left: dict[str, int]) -> None:
    before = replace(ON_TRIAL, previous_stable=(4, gone, 4))
    assert restrict_to(before, {1, 2, 4} - {gone}) == AliasSet(left, 0.0, "", (4, 4))


def test_stable_of_a_newer_release_is_here_the_last_known_version_before_it() -> None:
    stored = AliasSet({STABLE: 5, CANARY: 6, "own": 1}, 0.25, "", (1, 2, 3, 4))
    assert in_effect(stored, {1, 2}, {4, 5, 6}) == AliasSet({STABLE: 2, "own": 1}, 0.0, "", (1, 2))
    assert in_effect(stored, {1, 2, 6}, {5}).split == (2, 6, 0.0)


def test_stable_that_is_damaged_or_has_no_known_version_before_it_names_none_here() -> None:
    stored = AliasSet({STABLE: 2}, 0.0, "", (1,))
    assert in_effect(stored, {1}, set()).stable is None
    assert in_effect(stored, set(), {2}).stable is None
    assert in_effect(stored, {1, 2}, set()) == stored


def test_changes_leave_the_aliases_they_start_from_unchanged() -> None:
    before = AliasSet({STABLE: 1, CANARY: 2}, 0.25, "", (2,))
    for changed in (
        point_alias(before, STABLE, 2),
        remove_alias(before, CANARY),
        roll_back(before),
        split_traffic(before, 3, 0.5),
        stop_canary(before, "too slow"),
        drop_version(before, 2),
    ):
        assert changed[0] != before
        assert before == AliasSet({STABLE: 1, CANARY: 2}, 0.25, "", (2,))
