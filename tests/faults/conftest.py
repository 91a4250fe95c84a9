"""Shared by the tests of faults."""

import pytest

from tests.support.command_line import commands_built_once

__all__ = ["commands_built_once"]


@pytest.fixture(autouse=True)
def no_pause_between_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call for something unknown looks for it at other servers at once: these tests ask for what is damaged or gone."""
    monkeypatch.setattr("service.registry.versions.replica_sync.BETWEEN_LOOKS_S", 0.0)
