"""Watchers of a job are woken by its changes alone."""

from __future__ import annotations

from service.jobs.change_notifier import ChangeNotifier


def test_watchers_of_the_job_are_woken_and_others_are_not() -> None:
    notifier = ChangeNotifier()
    with notifier.subscribe("one") as first, notifier.subscribe("one") as second, notifier.subscribe("two") as other:
        notifier.notify("one")
        assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
        notifier.notify_all()
        assert other.is_set()


def test_watcher_that_has_left_is_not_woken() -> None:
    notifier = ChangeNotifier()
    with notifier.subscribe("one") as left:
        pass
    notifier.notify("one")
    notifier.notify_all()
    assert not left.is_set()
