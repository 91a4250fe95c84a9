"""Fine-tune jobs."""

from typing import Any

import pytest

from service.client import (
    BadInput,
    Client,
    IllegalMove,
    JobProgress,
    LogLine,
    MetricValue,
    NotFound,
    Retry,
    ServerUnreachable,
    StateChanged,
)
from tests.support.fake_zoo.server import FakeZoo

BASE = "efficientnet_lite0"


def test_job_has_the_values_of_its_request(zoo: FakeZoo, client: Client) -> None:
    job = client.create_job(
        BASE, "d1", "pets", method="lora", hyperparameters={"epochs": 5, "learning_rate": 3e-4, "head": "mlp"}, seed=7
    )
    assert (job.base, job.dataset_id, job.model, job.method, job.seed) == (BASE, "d1", "pets", "lora", 7)
    assert job.hyperparameters == {"epochs": 5, "learning_rate": 3e-4, "head": "mlp"}
    assert (job.state, job.promotion, job.has_ended) == ("QUEUED", "gated", False)
    assert client.create_job(BASE, "d1", "pets", promote=False).promotion == "never"
    ids = {request.request_id for request in zoo.calls["CreateJob"]}
    assert len(ids) == 2, "each job has a request id of its own"
    assert all(ids)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"method": "magic"}, r"method: expected one of auto, head, full, lora, got 'magic'"),
        ({"hyperparameters": {"epochs": object()}}, r"spec.hyperparameters.epochs: expected a number"),
        ({"hyperparameters": {"head": "\ud800"}}, r"spec.hyperparameters.head: expected a number"),
        ({"seed": "x"}, r"spec.seed: expected a whole number, got 'x'"),
        ({"seed": 2**63}, r"spec.seed: expected a whole number"),
    ],
)
def test_invalid_job_is_rejected_before_any_call(
    zoo: FakeZoo, client: Client, invalid: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        client.create_job(BASE, "d1", "pets", **invalid)
    assert not zoo.calls["CreateJob"]


def test_number_too_large_for_its_field_is_rejected_before_any_call(zoo: FakeZoo, client: Client) -> None:
    huge = 10**20
    for call in (
        lambda: client.promote("pets", huge),
        lambda: client.set_canary("pets", huge, 0.1),
        lambda: client.delete_version("pets", "two"),  # type: ignore[arg-type]
        lambda: list(client.watch_job("j", after=huge)),
        lambda: client.check_job(BASE, "pets", seed=huge),
        lambda: client.create_job(BASE, "d1", "pets", priority=2**31),
    ):
        with pytest.raises(BadInput, match="expected a whole number"):
            call()


def test_job_is_created_once_if_the_first_reply_is_lost(zoo: FakeZoo, client: Client) -> None:
    zoo.fail_next("CreateJob", "UNAVAILABLE", "starting", times=2)
    client.create_job(BASE, "d1", "pets")
    assert len({request.request_id for request in zoo.calls["CreateJob"]}) == 1
    assert len(zoo.calls["CreateJob"]) == 3


def test_check_job_validates_and_creates_no_job(zoo: FakeZoo, client: Client) -> None:
    client.check_job(BASE, "pets", kinds=["image_folder"], method="head", hyperparameters={"epochs": 5})
    [checked] = zoo.calls["CreateJob.validate"]
    assert (checked.validate_only, checked.spec.dataset_id, checked.dataset_kinds) == (True, "", [1])
    assert (checked.spec.method, dict(checked.spec.hyperparameters)) == (1, {"epochs": 5})
    client.check_job(BASE, "pets", dataset_id="d1")
    assert zoo.calls["CreateJob.validate"][-1].spec.dataset_id == "d1"
    assert not zoo.calls["CreateJob"]


def test_owner_is_sent_with_every_job(zoo: FakeZoo, retry: Retry) -> None:
    with Client(zoo.target, retry=retry, owner="ann") as ann, Client(zoo.target, retry=retry) as anonymous:
        assert ann.create_job(BASE, "d1", "pets").owner == "ann"
        assert anonymous.create_job(BASE, "d1", "pets").owner == ""
        assert [job.owner for job in anonymous.jobs(owner="ann")] == ["ann"]
    for name in ("ann\nbob", "änne", "\x00"):
        with pytest.raises(BadInput, match="owner: expected letters"):
            Client(zoo.target, owner=name)


def test_ended_job_is_deleted_and_a_queued_job_is_not(zoo: FakeZoo, client: Client) -> None:
    job = client.create_job(BASE, "d1", "pets")
    with pytest.raises(IllegalMove, match="QUEUED cannot be deleted"):
        client.delete_job(job.id)
    list(client.watch_job(job.id))
    assert client.delete_job(job.id) == 2_000_000
    with pytest.raises(NotFound):
        client.job(job.id)


def test_jobs_are_listed_across_pages_and_change_state(zoo: FakeZoo, client: Client) -> None:
    made = [client.create_job(BASE, "d1", f"pets{i}").id for i in range(5)]
    assert [job.id for job in client.jobs()] == made
    assert client.pause_job(made[0]).state == "PAUSED"
    assert client.resume_job(made[0]).state == "QUEUED"
    assert client.cancel_job(made[0]).state == "CANCELLING"
    assert [job.id for job in client.jobs(state="cancelling")] == [made[0]]
    with pytest.raises(BadInput, match="state: expected one of queued"):
        list(client.jobs(state="asleep"))


def test_watch_yields_the_events_after_any_sequence_to_the_end(zoo: FakeZoo, client: Client) -> None:
    job = client.create_job(BASE, "d1", "pets")
    events = list(client.watch_job(job.id))
    assert [event.sequence for event in events] == list(range(1, 12))
    kinds = {type(event.what) for event in events}
    assert {StateChanged, JobProgress, MetricValue, LogLine} < kinds
    assert events[2].what == JobProgress("training", 0.25, 5, 20, 1, 75.0)
    assert events[-1].job is not None
    assert (events[-1].job.state, events[0].job) == ("SUCCEEDED", None)
    assert [event.sequence for event in client.watch_job(job.id, after=9)] == [10, 11]
    assert [checkpoint.step for checkpoint in client.checkpoints(job.id)] == [20]


def test_broken_watch_continues_and_yields_each_event_once(zoo: FakeZoo, client: Client) -> None:
    job = client.create_job(BASE, "d1", "pets")
    zoo.fine_tuning.break_watches_after.extend([3, 0, 0, 4])
    assert [event.sequence for event in client.watch_job(job.id)] == list(range(1, 12))
    assert [request.after for request in zoo.calls["WatchJob"]] == [0, 3, 3, 3, 7]


def test_watch_without_a_job_or_a_server_raises_an_error(zoo: FakeZoo, client: Client, retry: Retry) -> None:
    with pytest.raises(NotFound, match="unknown job"):
        list(client.watch_job("none"))
    with Client("127.0.0.1:1", retry=retry) as other, pytest.raises(ServerUnreachable):
        list(other.watch_job("none"))


def test_watch_may_be_closed_early(zoo: FakeZoo, client: Client) -> None:
    job = client.create_job(BASE, "d1", "pets")
    events = client.watch_job(job.id)
    assert next(events).sequence == 1
    events.close()  # type: ignore[attr-defined]
