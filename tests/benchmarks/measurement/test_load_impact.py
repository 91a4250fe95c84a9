"""Load impact: figures are reported only if the loads beside them succeed."""

import threading
from typing import Any

import pytest

from benchmarks.measurement import load_impact


class FailingClient:
    """A client whose second load fails."""

    def __init__(self, target: str) -> None:
        self.remaining_loads = 1
        self.failed = threading.Event()

    def __enter__(self) -> "FailingClient":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def load(self, model: str) -> None:
        if not self.remaining_loads:
            self.failed.set()
            raise RuntimeError("no room")
        self.remaining_loads -= 1

    def unload(self, model: str) -> None:
        pass


def test_repeated_loads_raise_the_error_of_a_failed_load(monkeypatch: pytest.MonkeyPatch) -> None:
    zoo: Any = FailingClient("")
    monkeypatch.setattr(load_impact, "Client", lambda target: zoo)
    with pytest.raises(RuntimeError, match="no room"), load_impact.RepeatedLoads("") as loads:
        assert zoo.failed.wait(20)
    assert loads.count == 1
