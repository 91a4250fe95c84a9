"""Versions of a model."""

import pytest

from service.client import Client, Unavailable
from tests.support.fake_zoo.server import FakeZoo

BASE = "efficientnet_lite0"


@pytest.fixture
def pets(client: Client) -> Client:
    """A client of a server with two versions of `pets`."""
    for _ in range(2):
        job = client.create_job(BASE, "d1", "pets")
        list(client.watch_job(job.id))
    return client


def test_versions_reports_aliases_and_traffic_are_read_and_changed(zoo: FakeZoo, pets: Client) -> None:
    known = pets.versions("pets")
    assert [version.number for version in known.versions] == [2, 1]
    assert (known.versions[0].state, known.traffic.stable) == ("READY", 2)
    report = pets.report("pets")
    assert (report.version, report.report["primary"], report.html) == (2, "accuracy", b"<html>curves</html>")
    assert pets.report("pets", 1).version == 1
    assert pets.promote("pets", 1).aliases == {"stable": 1}
    assert pets.promote("pets", 2).base == BASE
    assert pets.rollback("pets").rolled_back == 2
    changed = pets.set_canary("pets", 2, 0.25)
    assert (changed.traffic.canary, changed.traffic.canary_share) == (2, 0.25)
    assert pets.set_alias("pets", "best", 2).aliases["best"] == 2
    assert "best" not in pets.delete_alias("pets", "best").aliases
    assert pets.delete_version("pets", 1) == 1234


def test_rollback_is_not_retried(zoo: FakeZoo, pets: Client) -> None:
    zoo.fail_next("RollbackModel", "UNAVAILABLE", "the connection broke", times=3)
    with pytest.raises(Unavailable):
        pets.rollback("pets")
    assert len(zoo.calls["RollbackModel"]) == 1
