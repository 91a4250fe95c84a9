"""Arrays that one process writes into an arena are views in another process."""

import os
import subprocess
import sys

import numpy as np
import pytest

from service.runtime.lanes.arena import (
    ALIGNED,
    Arena,
    available,
    end_of,
)

pytestmark = pytest.mark.skipif(not available(), reason="this system has no memfd_create")


def test_arena_returns_the_written_arrays() -> None:
    arrays = {
        "pixels": np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32),
        "ids": np.arange(7, dtype=np.int64)[None],
        "flags": np.array([[True, False]]),
        "none": np.zeros((0, 4), np.float32),
        "one": np.array(2.5),
    }
    arena = Arena()
    notes = arena.write(arrays)
    assert all(at % ALIGNED == 0 for *_, at in notes)
    found = arena.views(notes)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    arena.close()


def test_outputs_behind_inputs_do_not_overwrite_them() -> None:
    here = Arena()
    there = Arena(os.dup(here.handle))
    asked = here.write({"x": np.arange(5, dtype=np.float32)})
    questions = there.views(asked)
    answers = there.write(
        {"y": np.ones((3, 1 << 20), np.float32)}, end_of(asked)
    )  # grows beyond what `here` has mapped
    np.testing.assert_array_equal(questions["x"], [0, 1, 2, 3, 4])
    assert here.views(answers)["y"].sum() == 3 << 20
    np.testing.assert_array_equal(here.views(asked)["x"], [0, 1, 2, 3, 4])
    here.close()
    there.close()


def test_array_of_another_memory_order_is_written_in_c_order() -> None:
    arena = Arena()
    array = np.arange(12.0).reshape(3, 4).T
    np.testing.assert_array_equal(arena.views(arena.write({"x": array}))["x"], array)
    arena.close()


def test_child_with_the_inherited_descriptor_shares_the_memory() -> None:
    arena = Arena()
    notes = arena.write({"x": np.arange(4, dtype=np.float32)})
    code = "import sys; from service.runtime.lanes.arena import Arena; a = Arena(int(sys.argv[1])); "
    code += "a.write({'y': a.views([('x', '<f4', [4], 0)])['x'] * 2}, 64)"
    subprocess.run([sys.executable, "-c", code, str(arena.handle)], pass_fds=(arena.handle,), check=True, timeout=60)
    np.testing.assert_array_equal(arena.views([("y", "<f4", [4], 64)])["y"], [0, 2, 4, 6])
    assert end_of(notes) == 16
    arena.close()
