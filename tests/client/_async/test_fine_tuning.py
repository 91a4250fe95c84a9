"""From data to a version in one call."""

from pathlib import Path

import pytest

from service.client import (
    AsyncClient,
    BadInput,
    Client,
    InvalidRequest,
    JobFailed,
    Retry,
    ZooClientError,
)
from service.client.upload import CHUNK
from tests.support.fake_zoo.fine_tuning import FAILING_JOB
from tests.support.fake_zoo.server import FakeZoo

BASE = "efficientnet_lite0"


def test_finetune_raises_the_error_of_the_check_before_the_upload(zoo: FakeZoo, client: Client, photos: Path) -> None:
    zoo.fail_next(
        "CreateJob.validate", "INVALID_ARGUMENT", "spec.method: no", reason="INVALID_INPUT", field="spec.method"
    )
    with pytest.raises(InvalidRequest, match=r"spec\.method"):
        client.finetune(BASE, photos, "pets", method="lora")
    assert list(zoo.calls["CreateJob.validate"][0].dataset_kinds) == [1, 5, 41, 42], "the kinds of images"
    assert not zoo.calls["GetUpload"]
    assert not zoo.calls["CreateJob"]


def test_finetune_returns_the_job_the_dataset_and_the_version(zoo: FakeZoo, client: Client, photos: Path) -> None:
    seen: list[int] = []
    made = client.finetune(BASE, photos, "pets", method="head", seed=3, on_event=lambda e: seen.append(e.sequence))
    assert seen == list(range(1, 12))
    assert (made.job.state, made.job.version) == ("SUCCEEDED", 1)
    assert made.version is not None
    assert made.version.lineage is not None
    assert (made.version.lineage.base, made.version.lineage.dataset_id) == (BASE, made.dataset.id)
    assert made.version.aliases == ("stable",)
    again = client.finetune(BASE, made.dataset, "pets")
    assert again.job.version == 2
    assert len(zoo.calls["UploadDataset"]) == 1


def test_finetune_raises_job_failed_with_the_reason(zoo: FakeZoo, client: Client, photos: Path) -> None:
    zoo.fine_tuning.script = FAILING_JOB
    with pytest.raises(JobFailed, match="training diverges") as caught:
        client.finetune(BASE, photos, "pets")
    assert (caught.value.job.state, caught.value.reason) == ("FAILED", "JOB_FAILED")


@pytest.mark.asyncio
async def test_async_client_finetunes_and_continues_broken_streams(zoo: FakeZoo, retry: Retry, photos: Path) -> None:
    zoo.fine_tuning.break_uploads_at.extend([CHUNK])
    zoo.fine_tuning.break_watches_after.extend([4])
    async with AsyncClient(zoo.target, retry=retry, owner="ann") as client:
        made = await client.finetune(BASE, photos, "pets", on_event=lambda _: None)
        assert (made.job.state, made.job.version, made.job.owner) == ("SUCCEEDED", 1, "ann")
        assert len(zoo.calls["CreateJob.validate"]) == 1
        assert zoo.calls["UploadDataset.header"][0].offset == 0
        assert len(zoo.calls["UploadDataset"]) == 2
        assert [request.after for request in zoo.calls["WatchJob"]] == [0, 4]
        assert [one.id async for one in client.datasets()] == [made.dataset.id]
        assert [job.id async for job in client.jobs()] == [made.job.id]
        assert (await client.versions("pets")).traffic.stable == 1
        assert (await client.report("pets")).version == 1
        assert (await client.set_canary("pets", 1, 0.5)).traffic.canary == 1
        assert (await client.checkpoints(made.job.id))[0].best
        await client.check_job(BASE, "pets")
        assert await client.delete_job(made.job.id) == 2_000_000
        with pytest.raises(BadInput, match="no such file"):
            await client.upload_dataset(photos / "none")
        with pytest.raises(ZooClientError, match="unknown job"):
            async for _ in client.watch_job("none"):
                pass
