"""How many rows fit into a device, learned from batches that did not."""

from service.scheduler.memory_limit import RECOVERY_BATCHES, RECOVERY_STEPS
from tests.support.scheduler.queues import (
    BY_LENGTH,
    World,
    push,
    queue,
)


def test_out_of_memory_halves_the_limit_and_full_batches_restore_it() -> None:
    w = World()
    q = w.queue(batch=8)
    q.memory.exceeded(8, 1)
    sizes = []
    for _ in range(RECOVERY_BATCHES * (RECOVERY_STEPS // 2 + 1)):
        push(q, *[1e6] * 8)
        sizes.append(len(w.run(0.0)))
    assert sizes[0] == 4
    assert sizes == sorted(sizes)
    assert sizes[RECOVERY_BATCHES * RECOVERY_STEPS // 2] == 8


def test_out_of_memory_again_halves_again_down_to_a_single_row() -> None:
    q = queue(batch=8)
    sizes = []
    for rows in (8, 4, 2, 1):
        q.memory.exceeded(rows, 1)
        sizes.append(q.most_rows(1))
    assert sizes == [4, 2, 1, 1]


def test_long_rows_that_did_not_fit_leave_short_ones_their_batches() -> None:
    q = queue(batch=8, cost=BY_LENGTH, lengths=True)
    q.memory.exceeded(8, 512)
    assert q.most_rows(512) == 4
    assert q.most_rows(64) == 8


def test_a_row_that_does_not_fit_alone_says_nothing_of_others() -> None:
    q = queue(batch=8)
    q.memory.exceeded(1, 1)
    assert q.most_rows(1) == 8
