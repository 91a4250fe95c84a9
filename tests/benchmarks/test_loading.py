"""Figures beside loads are figures beside loads."""

import threading
from typing import Any

import pytest

import benchmarks.loading


class Zoo:
    """A client whose second load fails."""

    def __init__(self, target: str) -> None:
        self.left = 1
        self.failed = threading.Event()

    def __enter__(self) -> "Zoo":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def load(self, model: str) -> None:
        if not self.left:
            self.failed.set()
            raise RuntimeError("no room")
        self.left -= 1

    def unload(self, model: str) -> None:
        pass


def test_a_load_that_fails_leaves_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    zoo: Any = Zoo("")
    monkeypatch.setattr(benchmarks.loading, "Client", lambda target: zoo)
    with pytest.raises(RuntimeError, match="no room"), benchmarks.loading.Loads("") as loads:
        assert zoo.failed.wait(20)
    assert loads.count == 1
