"""Datasets, jobs and versions through the SDK."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.client import (
    AsyncClient,
    BadInput,
    Client,
    Columns,
    IllegalMove,
    InvalidRequest,
    JobFailed,
    JobProgress,
    LogLine,
    MetricValue,
    NotFound,
    Retry,
    ServerUnreachable,
    StateChanged,
    Unavailable,
    ZooClientError,
)
from service.client.upload import CHUNK, kinds_in, opened, silent

BASE = "efficientnet_lite0"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of classes, large enough for some messages."""
    folder = tmp_path / "photos"
    for name, filler in (("cat", b"c"), ("dog", b"d")):
        (folder / name).mkdir(parents=True)
        for i in range(2):
            (folder / name / f"{i}.jpg").write_bytes(filler * (CHUNK + i))
    (folder / ".DS_Store").write_bytes(b"x")
    return folder


# ── upload ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_arrives_whole_and_comes_back_as_a_checked_dataset(zoo: Any, client: Client, tmp_path: Path) -> None:
    data = bytes(range(256)) * (CHUNK // 100)
    file = tmp_path / "reviews.csv"
    file.write_bytes(data)
    seen: list[tuple[int, int, str]] = []
    dataset = client.upload_dataset(
        file,
        kind="text",
        columns={"text": "review", "target": "stars"},
        task="regression",
        progress=lambda *x: seen.append(x),
    )
    assert zoo.uploads[dataset.sha256] == data
    [header] = zoo.calls["UploadDataset.header"]
    assert (header.file_name, header.size_bytes, header.offset) == ("reviews.csv", len(data), 0)
    assert (header.columns.text, header.columns.target, header.task) == ("review", "stars", "regression")
    assert dataset.report.inferred == ("kind: image_folder, because the archive holds pictures",)
    assert (dataset.kind, dataset.state, dataset.existed, dataset.display_name) == (
        "text",
        "READY",
        False,
        "reviews.csv",
    )
    assert dataset.columns == Columns(text="review", target="stars")
    assert dataset.report.class_counts == {"cat": 20, "dog": 25, "mug": 3}
    assert dataset.report.skipped[0].reason == "it is no picture"
    assert {what for _, _, what in seen} == {"reading", "sending", "checking"}
    assert seen[-1] == (len(data), len(data), "checking")


def test_a_folder_is_packed_the_same_each_time_without_what_is_hidden(zoo: Any, client: Client, photos: Path) -> None:
    first = client.upload_dataset(photos)
    (photos / "cat" / "0.jpg").touch()
    assert client.upload_dataset(photos).existed
    packed = photos.parent / "packed.zip"
    packed.write_bytes(zoo.uploads[first.sha256])
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["cat/0.jpg", "cat/1.jpg", "dog/0.jpg", "dog/1.jpg"]
    [header, again] = zoo.calls["UploadDataset.header"]
    assert header.file_name == "photos.zip"
    assert again.offset == again.size_bytes, "what the server has is not sent again"


def test_links_do_not_leave_the_folder(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (photos / "cat" / "link.jpg").symlink_to(tmp_path / "secret")
    with opened(photos, silent) as source, zipfile.ZipFile(source.path) as archive:
        assert "cat/link.jpg" not in archive.namelist()
    assert not source.path.exists(), "what was packed goes away"


def test_an_upload_whose_connection_breaks_goes_on_where_it_stopped(zoo: Any, client: Client, photos: Path) -> None:
    zoo.break_uploads_at.extend([CHUNK, 2 * CHUNK])
    client.upload_dataset(photos)
    offsets = [header.offset for header in zoo.calls["UploadDataset.header"]]
    assert offsets[0] == 0
    assert CHUNK <= offsets[1] < 2 * CHUNK <= offsets[2] < 3 * CHUNK


def test_an_upload_that_gets_nowhere_is_given_up(zoo: Any, client: Client, photos: Path) -> None:
    zoo.break_uploads_at.extend([0] * 1000)
    zoo.fail_next("UploadDataset", "UNAVAILABLE", "the server is shutting down", times=1000)
    with pytest.raises(Unavailable, match="shutting down"):
        client.upload_dataset(photos)
    assert 5 < len(zoo.calls["UploadDataset"]) < 100


def test_what_cannot_help_is_not_tried_again(zoo: Any, client: Client, photos: Path) -> None:
    zoo.fail_next("UploadDataset", "INVALID_ARGUMENT", "only one class", reason="INVALID_INPUT", field="header")
    with pytest.raises(InvalidRequest, match="only one class"):
        client.upload_dataset(photos)
    assert len(zoo.calls["UploadDataset"]) == 1


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("poems", "plain_text", "poems.txt"),
        ("poems.log", "plain_text", "poems.log.txt"),
        ("POEMS.TXT", "plain_text", "POEMS.TXT"),
        ("poems.tar.gz", "plain_text", "poems.tar.gz"),
        ("poems", "", "poems"),
        ("poems.csv", "text", "poems.csv"),
    ],
)
def test_plain_text_may_be_called_anything(
    zoo: Any, client: Client, tmp_path: Path, name: str, kind: str, told: str
) -> None:
    (tmp_path / name).write_text("a rose is a rose")
    assert client.upload_dataset(tmp_path / name, kind=kind).display_name == name
    assert zoo.calls["UploadDataset.header"][0].file_name == told


def test_after_ctrl_c_nothing_that_was_packed_is_left(
    zoo: Any, client: Client, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "packed"
    packed.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(packed))

    def packing(done: int, total: int, what: str) -> None:
        assert list(packed.iterdir())

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_upload", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        client.upload_dataset(photos, progress=packing)
    assert not list(packed.iterdir()), f"at once, though somebody holds on to {caught.value!r}"


def test_the_server_fetches_what_a_uri_names(zoo: Any, client: Client) -> None:
    assert client.upload_dataset("s3://bucket/photos.zip").uri == "s3://bucket/photos.zip"
    [header] = zoo.calls["UploadDataset.header"]
    assert (header.uri, header.sha256, header.file_name) == ("s3://bucket/photos.zip", "", "")


def test_what_cannot_be_sent_is_told_before_any_call(zoo: Any, client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "nothing").mkdir()
    with pytest.raises(BadInput, match="no such file"):
        client.upload_dataset(tmp_path / "none.zip")
    with pytest.raises(BadInput, match="is empty"):
        client.upload_dataset(tmp_path / "empty.csv")
    with pytest.raises(BadInput, match="holds no files"):
        client.upload_dataset(tmp_path / "nothing")
    with pytest.raises(BadInput, match=r"kind: expected one of image_folder, .*, got 'photos'"):
        client.upload_dataset(tmp_path, kind="photos")
    with pytest.raises(BadInput, match=r"columns.label: no such role"):
        client.upload_dataset(tmp_path, columns={"label": "x"})
    assert not zoo.calls["UploadDataset"]
    assert not zoo.calls["GetUpload"]


def test_datasets_are_listed_shown_and_deleted(zoo: Any, client: Client, photos: Path) -> None:
    stored = client.upload_dataset(photos)
    assert [one.id for one in client.datasets()] == [stored.id]
    assert client.dataset(stored.id) == stored
    assert client.delete_dataset(stored.id) == stored.size_bytes
    with pytest.raises(NotFound, match="unknown dataset"):
        client.dataset(stored.id)


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_says_what_was_asked_for(zoo: Any, client: Client) -> None:
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
    ("wrong", "says"),
    [
        ({"method": "magic"}, r"method: expected one of auto, head, full, lora, got 'magic'"),
        ({"hyperparameters": {"epochs": object()}}, r"spec.hyperparameters.epochs: expected a number"),
        ({"seed": "x"}, r"spec.seed: expected a whole number, got 'x'"),
        ({"seed": 2**63}, r"spec.seed: expected a whole number"),
    ],
)
def test_a_job_that_cannot_be_sent_is_told_before_any_call(
    zoo: Any, client: Client, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        client.create_job(BASE, "d1", "pets", **wrong)
    assert not zoo.calls["CreateJob"]


def test_a_number_that_no_message_holds_is_told_before_any_call(zoo: Any, client: Client) -> None:
    huge = 10**20
    for ask in (
        lambda: client.promote("pets", huge),
        lambda: client.set_canary("pets", huge, 0.1),
        lambda: client.delete_version("pets", "two"),  # type: ignore[arg-type]
        lambda: list(client.watch_job("j", after=huge)),
        lambda: client.check_job(BASE, "pets", seed=huge),
        lambda: client.create_job(BASE, "d1", "pets", priority=2**31),
    ):
        with pytest.raises(BadInput, match="expected a whole number"):
            ask()


def test_a_job_is_made_once_though_the_first_answer_is_lost(zoo: Any, client: Client) -> None:
    zoo.fail_next("CreateJob", "UNAVAILABLE", "starting", times=2)
    client.create_job(BASE, "d1", "pets")
    assert len({request.request_id for request in zoo.calls["CreateJob"]}) == 1
    assert len(zoo.calls["CreateJob"]) == 3


def test_a_job_is_judged_and_none_is_made(zoo: Any, client: Client) -> None:
    client.check_job(BASE, "pets", kinds=["image_folder"], method="head", hyperparameters={"epochs": 5})
    [judged] = zoo.calls["CreateJob.judged"]
    assert (judged.validate_only, judged.spec.dataset_id, judged.dataset_kinds) == (True, "", [1])
    assert (judged.spec.method, dict(judged.spec.hyperparameters)) == (1, {"epochs": 5})
    client.check_job(BASE, "pets", dataset_id="d1")
    assert zoo.calls["CreateJob.judged"][-1].spec.dataset_id == "d1"
    assert not zoo.calls["CreateJob"]


def test_what_will_be_refused_is_refused_before_anything_is_sent(zoo: Any, client: Client, photos: Path) -> None:
    zoo.fail_next(
        "CreateJob.judged", "INVALID_ARGUMENT", "spec.method: no", reason="INVALID_INPUT", field="spec.method"
    )
    with pytest.raises(InvalidRequest, match=r"spec\.method"):
        client.finetune(BASE, photos, "pets", method="lora")
    assert list(zoo.calls["CreateJob.judged"][0].dataset_kinds) == [1, 5], "of pictures alone"
    assert not zoo.calls["GetUpload"]
    assert not zoo.calls["CreateJob"]


@pytest.mark.parametrize(
    ("names", "kinds"),
    [
        (["a.CSV"], {"text", "table", "series"}),
        (["cat/a.jpg", "dog/b.png", "notes.txt"], {"image_folder", "image_table", "text", "plain_text"}),
        (["ann/a.wav", "bob/b.flac", ".hidden.csv"], {"audio_folder"}),
        (["a.zip"], set()),
        (["a.xyz"], set()),
    ],
)
def test_what_data_may_be_is_told_by_the_names_of_files(tmp_path: Path, names: list[str], kinds: set[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert set(kinds_in(tmp_path)) == kinds
    assert set(kinds_in(str(tmp_path / names[0]))) <= kinds
    assert kinds_in("s3://bucket/a.csv") == ()


def test_an_owner_goes_with_every_job(zoo: Any, retry: Retry) -> None:
    with Client(zoo.target, retry=retry, owner="ann") as ann, Client(zoo.target, retry=retry) as nobody:
        assert ann.create_job(BASE, "d1", "pets").owner == "ann"
        assert nobody.create_job(BASE, "d1", "pets").owner == ""
        assert [job.owner for job in nobody.jobs(owner="ann")] == ["ann"]
    for name in ("ann\nbob", "änne", "\x00"):
        with pytest.raises(BadInput, match="owner: expected letters"):
            Client(zoo.target, owner=name)


def test_a_job_that_has_ended_is_deleted(zoo: Any, client: Client) -> None:
    job = client.create_job(BASE, "d1", "pets")
    with pytest.raises(IllegalMove, match="QUEUED cannot be deleted"):
        client.delete_job(job.id)
    list(client.watch_job(job.id))
    assert client.delete_job(job.id) == 2_000_000
    with pytest.raises(NotFound):
        client.job(job.id)


def test_jobs_are_listed_across_pages_and_moved(zoo: Any, client: Client) -> None:
    made = [client.create_job(BASE, "d1", f"pets{i}").id for i in range(5)]
    assert [job.id for job in client.jobs()] == made
    assert client.pause_job(made[0]).state == "PAUSED"
    assert client.resume_job(made[0]).state == "QUEUED"
    assert client.cancel_job(made[0]).state == "CANCELLING"
    assert [job.id for job in client.jobs(state="cancelling")] == [made[0]]
    with pytest.raises(BadInput, match="state: expected one of queued"):
        list(client.jobs(state="asleep"))


def test_a_job_is_watched_from_any_point_to_its_end(zoo: Any, client: Client) -> None:
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


def test_a_watcher_comes_back_by_itself_and_sees_each_event_once(zoo: Any, client: Client) -> None:
    job = client.create_job(BASE, "d1", "pets")
    zoo.break_watches_after.extend([3, 0, 0, 4])
    assert [event.sequence for event in client.watch_job(job.id)] == list(range(1, 12))
    assert [request.after for request in zoo.calls["WatchJob"]] == [0, 3, 3, 3, 7]


def test_a_watcher_of_nothing_is_told_so_soon(zoo: Any, client: Client, retry: Retry) -> None:
    with pytest.raises(NotFound, match="unknown job"):
        list(client.watch_job("none"))
    with Client("127.0.0.1:1", retry=retry) as nobody, pytest.raises(ServerUnreachable):
        list(nobody.watch_job("none"))


def test_a_watcher_may_leave_early(zoo: Any, client: Client) -> None:
    job = client.create_job(BASE, "d1", "pets")
    events = client.watch_job(job.id)
    assert next(events).sequence == 1
    events.close()  # type: ignore[attr-defined]


# ── all in one ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_call_goes_from_data_to_a_version_with_its_lineage(zoo: Any, client: Client, photos: Path) -> None:
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


def test_a_job_that_fails_says_why(zoo: Any, client: Client, photos: Path, script: Callable[[str], Any]) -> None:
    zoo.script = script("BADLY")
    with pytest.raises(JobFailed, match="training diverges") as caught:
        client.finetune(BASE, photos, "pets")
    assert (caught.value.job.state, caught.value.reason) == ("FAILED", "JOB_FAILED")


# ── versions ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def pets(client: Client) -> Client:
    """A client of a server with two versions of `pets`."""
    for _ in range(2):
        job = client.create_job(BASE, "d1", "pets")
        list(client.watch_job(job.id))
    return client


def test_versions_reports_aliases_and_traffic(zoo: Any, pets: Client) -> None:
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


def test_a_rollback_is_never_done_twice(zoo: Any, pets: Client) -> None:
    zoo.fail_next("RollbackModel", "UNAVAILABLE", "the connection broke", times=3)
    with pytest.raises(Unavailable):
        pets.rollback("pets")
    assert len(zoo.calls["RollbackModel"]) == 1


# ── asyncio ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.asyncio
async def test_the_async_client_keeps_the_same_promises(zoo: Any, retry: Retry, photos: Path) -> None:
    zoo.break_uploads_at.extend([CHUNK])
    zoo.break_watches_after.extend([4])
    async with AsyncClient(zoo.target, retry=retry, owner="ann") as client:
        made = await client.finetune(BASE, photos, "pets", on_event=lambda _: None)
        assert (made.job.state, made.job.version, made.job.owner) == ("SUCCEEDED", 1, "ann")
        assert len(zoo.calls["CreateJob.judged"]) == 1
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


def test_both_clients_know_the_same_of_fine_tuning() -> None:
    def verbs(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert verbs(Client) == verbs(AsyncClient)
    assert {"finetune", "upload_dataset", "watch_job", "promote", "rollback", "set_canary"} < verbs(Client)
