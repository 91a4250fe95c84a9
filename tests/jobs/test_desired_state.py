"""The desired state of a job rises from run to drain, pause and cancel, and never falls."""

from __future__ import annotations

from itertools import product

import pytest

from service.jobs.desired_state import DesiredState, JobControl

RUN, DRAIN, PAUSE, CANCEL = DesiredState.RUN, DesiredState.DRAIN, DesiredState.PAUSE, DesiredState.CANCEL


@pytest.mark.parametrize(("before", "asked"), [*product(DesiredState, repeat=2)])
def test_later_state_replaces_an_earlier_one_and_is_reported_once(before: DesiredState, asked: DesiredState) -> None:
    control, changes = JobControl(before), []
    control.follow(changes.append)
    changes.clear()
    control.request(asked)
    control.request(asked)
    assert control.desired is max(before, asked)
    assert changes == ([asked] if asked > before else [])


def test_follower_that_comes_late_is_called_with_the_state_at_once() -> None:
    control, changes = JobControl(), []
    control.request(PAUSE)
    control.follow(changes.append)
    assert changes == [PAUSE]


def test_follower_of_a_job_that_runs_is_not_called() -> None:
    changes: list[DesiredState] = []
    JobControl(RUN).follow(changes.append)
    assert changes == []


def test_follower_that_has_left_is_not_called() -> None:
    control, changes = JobControl(), []
    control.follow(changes.append)
    control.unfollow()
    control.request(CANCEL)
    assert changes == []
    assert control.desired is CANCEL


def test_drain_gives_way_to_a_pause_and_a_pause_to_a_cancel() -> None:
    control, changes = JobControl(), []
    control.follow(changes.append)
    for state in (DRAIN, PAUSE, DRAIN, CANCEL, PAUSE):
        control.request(state)
    assert changes == [DRAIN, PAUSE, CANCEL]
