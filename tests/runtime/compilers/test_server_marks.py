"""Names that belong to a server as long as it lives."""

import os
from pathlib import Path

import pytest

from service.runtime.compilers.server_marks import SERVER, belongs_to_dead_server, is_mark, mark

DEAD = 2**22 + 1
"""A process id that no process has: above the greatest of Linux."""


def test_own_mark_belongs_to_a_server_that_lives(tmp_path: Path) -> None:
    assert not belongs_to_dead_server(tmp_path / mark("trial"))
    assert not belongs_to_dead_server(tmp_path / f"{mark('staging')}-0a0b0c0d")


@pytest.mark.parametrize(
    ("name", "dead"),
    [
        (f".trial-{os.getppid()}-0a0b0c0d", False),
        (f".trial-{DEAD}-0a0b0c0d", True),
        (f".trial-{os.getpid()}-0a0b0c0d", True),
        (".trial-9999999999-0a0b0c0d", True),
        (".trial-x", True),
    ],
    ids=["a process that lives", "one that does not", "an earlier one of this id", "no process id", "no such name"],
)
def test_mark_of_another_server_tells_whether_it_lives(tmp_path: Path, name: str, dead: bool) -> None:
    assert belongs_to_dead_server(tmp_path / name) is dead


def test_only_files_of_the_right_name_are_marks(tmp_path: Path) -> None:
    file, folder, link = (tmp_path / f".trial-{number}-{SERVER}" for number in (1, 2, 3))
    file.touch()
    folder.mkdir()
    link.symlink_to(file)
    (tmp_path / ".trial-x").touch()
    assert [is_mark(path) for path in (file, folder, link, tmp_path / ".trial-x")] == [True, False, False, False]
