"""Two servers on one home and one PostgreSQL: what is published, named or deleted through one, the other knows in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from service.client import Client, IllegalMove, Job, NotFound
from tests.support.database.postgres import running
from tests.support.end_to_end.server_process import ServerProcess, until, zoo_home
from tests.support.end_to_end.user_data import flats_csv

pytestmark = pytest.mark.component

FLAT = {"size": 80.0, "age": 10.0, "part": "centre"}


@dataclass(frozen=True)
class Pair:
    """Two servers, and who talks to each."""

    here: Client
    there: Client
    dataset_id: str

    def job(self, client: Client, epochs: int, seed: int = 0, promote: bool = True) -> Job:
        return client.create_job(
            "tabular_mlp",
            self.dataset_id,
            "flats",
            seed=seed,
            hyperparameters={"epochs": epochs},
            promote=promote,
        )

    def ended(self, job: Job) -> Job:
        """The job at its end, as the other server tells it."""
        for _ in self.there.watch_job(job.id):
            pass
        job = self.there.job(job.id)
        assert job.state == "SUCCEEDED", job
        return job

    def agree(self, stable: int) -> None:
        """Returns once a call of the name is answered by this version at both."""
        for client in (self.here, self.there):
            until(lambda client=client: answered_by(client) == stable, f"version {stable}")


def answered_by(client: Client, version: str = "") -> int:
    [result] = client.predict("flats", FLAT, version=version)
    return result.version


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("shared")
    home = folder / "home"
    home.mkdir()
    (home / "weights").symlink_to(zoo_home() / "weights")
    data = flats_csv(folder / "flats.csv")
    with running() as postgres, postgres.fresh() as url:
        settings = {"ZOO_HOME": str(home), "ZOO_DATABASE_URL": url, "ZOO_MODELS": "silero_vad"}
        settings |= {"ZOO_FOLLOW_INTERVAL_S": "0.5", "ZOO_JOB_WORKER_READY_S": "0"}
        with ServerProcess(**settings) as one, ServerProcess(**settings) as other:
            here, there = Client(one.ready().target), Client(other.ready().target)
            with here, there:
                dataset = here.upload_dataset(data, columns={"target": "rent"})
                yield Pair(here, there, dataset.id)
        one.assert_log_is_clean()
        other.assert_log_is_clean()


def test_version_trained_by_one_server_serves_at_both_and_aliases_follow(pair: Pair) -> None:
    first = pair.ended(pair.job(pair.here, epochs=30))
    assert (first.version, first.promotion_outcome[:20]) == (1, "version 1 is stable:")
    assert answered_by(pair.here) == answered_by(pair.there) == 1, (
        "at once: who is asked for what he does not know looks"
    )

    second = pair.ended(pair.job(pair.there, epochs=2, promote=False))
    assert second.version == 2
    assert {answered_by(client, "2") for client in (pair.here, pair.there)} == {2}
    pair.there.promote("flats", 2)
    pair.agree(2)
    assert pair.here.rollback("flats").rolled_back == 2
    pair.agree(1)
    pair.there.set_alias("flats", "quick", 2)
    until(lambda: pair.here.model("flats").aliases.get("quick") == 2, "the alias")
    pair.here.set_canary("flats", 2, 0.5)
    until(lambda: {answered_by(pair.there) for _ in range(4)} == {1, 2}, "the canary's share")
    pair.there.set_canary("flats", 0, 0.0)
    pair.agree(1)


def test_version_deleted_at_one_server_is_gone_at_both(pair: Pair) -> None:
    with pytest.raises(IllegalMove, match="'quick'"):
        pair.here.delete_version("flats", 2)
    pair.there.delete_alias("flats", "quick")
    assert pair.here.delete_version("flats", 2) > 0
    until(lambda: [v.number for v in pair.there.versions("flats").versions] == [1], "the end of version 2")
    for client in (pair.here, pair.there):
        with pytest.raises(NotFound, match="unknown version '2'"):
            answered_by(client, "2")


def test_concurrent_publishing_at_two_servers_gets_two_numbers(pair: Pair) -> None:
    jobs = [pair.job(client, epochs=5, seed=seed) for seed, client in enumerate((pair.here, pair.there))]
    ended = [pair.ended(job) for job in jobs]
    assert sorted(job.version or 0 for job in ended) == [3, 4]
    stable = pair.here.versions("flats").traffic.stable
    promoted = [job.version for job in ended if f"version {job.version} is stable: " in job.promotion_outcome]
    assert stable in (promoted or [1])
    pair.agree(stable)
    until(
        lambda: (
            {v.number: v.aliases for v in pair.here.versions("flats").versions}
            == {v.number: v.aliases for v in pair.there.versions("flats").versions}
        ),
        "that both list the same",
    )
