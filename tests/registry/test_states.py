"""The changes of state in states.py."""

import itertools

import pytest

from service.errors import IllegalMove
from service.registry.states import MOVES, ModelState, check_move

LEGAL = {
    ("UNAVAILABLE", "LOADING"),
    ("LOADING", "READY"),
    ("LOADING", "UNAVAILABLE"),
    ("READY", "UNLOADING"),
    ("UNLOADING", "UNAVAILABLE"),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(ModelState, ModelState)))
def test_state_change_not_in_the_table_is_refused(old: ModelState, new: ModelState) -> None:
    if (old, new) in LEGAL:
        check_move("m", old, new)
    else:
        with pytest.raises(IllegalMove, match=f"'m' is {old} and cannot become {new}"):
            check_move("m", old, new)


def test_every_state_has_a_next_state() -> None:
    assert set(MOVES) == set(ModelState)
    assert all(MOVES.values())
