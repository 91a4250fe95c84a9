"""What users can get wrong on the way from data to a version: each is refused, or ends its job, with a sentence and a field."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.client import Dataset, IllegalMove, Job, NotFound
from service.pb import fine_tuning_pb2 as pb
from tests.support.end_to_end.server_process import TIMEOUT_S
from tests.support.end_to_end.stubs import (
    CNN,
    TRANSFORMER,
    CallError,
    Stubs,
    assert_leaks_nothing,
    expect_error,
    stubs_of,
)
from tests.support.end_to_end.user_data import flats_csv, photos_zip, zip_of
from tests.support.end_to_end.workshop import TunedModels, Watcher

ENDLESS = {"epochs": 10_000, "patience": 0, "checkpoint_steps": 50}


@pytest.fixture
def raw(made: TunedModels) -> Iterator[Stubs]:
    with stubs_of(made.server) as stubs:
        yield stubs


def upload(raw: Stubs, data: bytes, file_name: str, *, chunk: int = 65_536, **header: Any) -> pb.UploadDatasetResponse:
    """Sends data as any client would."""
    header = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data), "file_name": file_name} | header

    def messages() -> Iterator[pb.UploadDatasetRequest]:
        yield pb.UploadDatasetRequest(header=pb.UploadHeader(**header))
        for start in range(header.get("offset", 0), len(data), chunk):
            yield pb.UploadDatasetRequest(chunk=data[start : start + chunk])

    return raw.fine_tuning.UploadDataset(messages(), timeout=TIMEOUT_S)


def texts(*rows: str, columns: str = "text,topic") -> bytes:
    return "\n".join([columns, *rows]).encode()


def create(raw: Stubs, dataset: Dataset | pb.Dataset, base: str, **more: Any) -> pb.Job:
    spec = pb.JobSpec(base=base, dataset_id=dataset.id, model=more.pop("model", "wrong"), task=more.pop("task", ""))
    spec.hyperparameters.update(more)
    return raw.fine_tuning.CreateJob(pb.CreateJobRequest(spec=spec), timeout=TIMEOUT_S).job


# ── data that cannot be used ──────────────────────────────────────────────────────────────────────────────────────

PHOTO = b"\x89PNG no picture"
GOOD_ROWS = [f"the {word} of number {i},{word}" for word in ("sea", "wood") for i in range(6)]

DATA: dict[str, tuple[bytes, str, dict[str, Any], str, str]] = {
    "one class only": (texts(*GOOD_ROWS[:6]), "one.csv", {}, "data", "only one class, 'sea'"),
    "a class of one example": (
        texts(*GOOD_ROWS, "alone,lake"),
        "texts.csv",
        {},
        "data",
        "class 'lake' has 1 usable example",
    ),
    "a label column that is missing": (
        texts(*GOOD_ROWS),
        "texts.csv",
        {"columns": pb.DatasetColumns(text="text", target="label")},
        "header.columns.target",
        "'label'",
    ),
    "not one picture that can be read": (
        zip_of({f"{label}/{i}.jpg": b"0123456789" for label in ("cat", "dog") for i in range(3)}),
        "photos.zip",
        {},
        "data",
        "the first is 'cat/0.jpg'",
    ),
    "an archive that leads out of itself": (
        zip_of({"../outside/1.png": PHOTO, "cat/1.png": PHOTO}),
        "photos.zip",
        {},
        "data",
        "leads out of it",
    ),
    "a zip that is cut off": (zip_of({"cat/1.png": PHOTO * 500})[:-30], "photos.zip", {}, "data", "cut off"),
    "a workbook that is called CSV": (
        zip_of({"xl/workbook.xml": b"<workbook/>"}),
        "prices.csv",
        {},
        "data",
        "is an Excel workbook: save it as CSV",
    ),
    "an ending that nobody reads": (b"x" * 10, "photos.rar", {}, "header.file_name", ".rar"),
    "a URI outside of what is allowed": (b"", "", {"uri": "file:///etc/passwd"}, "header.uri", ""),
}


OWN = ("../outside/1.png", "../pets", "cat/0.jpg", "file:///etc/passwd")
"""Words with a slash that callers said themselves and may hear again."""


@pytest.mark.parametrize("what", DATA)
def test_unusable_dataset_is_rejected_with_the_reason(raw: Stubs, what: str) -> None:
    data, file_name, header, field, said = DATA[what]
    if "uri" in header:
        header = header | {"sha256": "", "size_bytes": 0}
    refusal = expect_error(lambda: upload(raw, data, file_name, **header), *OWN)
    assert refusal.code in ("INVALID_ARGUMENT", "PERMISSION_DENIED"), refusal
    assert refusal.field == field, refusal
    assert said in refusal.message


def test_invalid_image_is_skipped_with_the_reason(made: TunedModels, tmp_path: Path) -> None:
    report = made.client.upload_dataset(photos_zip(tmp_path / "odd.zip", {"birds/x.jpg": b"0123456789"})).report
    [skipped] = report.skipped
    assert (skipped.file, report.skipped_count) == ("birds/x.jpg", 1)
    assert report.input_count == report.examples + report.skipped_count
    assert dict(report.skipped_reasons) == {skipped.reason: 1}
    assert skipped.reason == "is no JPEG, PNG or WebP picture"


def test_row_with_invalid_target_is_skipped_with_its_number(made: TunedModels, tmp_path: Path) -> None:
    path = flats_csv(tmp_path / "flats.csv", rows=60)
    lines = path.read_text().splitlines()
    lines[3] = lines[3].rpartition(",")[0] + ",nan"
    lines[5] = lines[5].rpartition(",")[0] + ",inf"
    path.write_text("\n".join(lines))
    report = made.client.upload_dataset(path, columns={"target": "rent"}).report
    assert [row.row for row in report.skipped] == [3, 5]
    assert report.examples == 58
    for row in report.skipped:
        assert row.reason.startswith("the target is")


def test_task_decides_whether_integers_are_classes_or_values(raw: Stubs) -> None:
    data = texts(*(f"a text about topic {i % 30} for time {i},{i % 30}" for i in range(240)))
    guessed = upload(raw, data, "topics.csv").dataset
    [line] = [line for line in guessed.report.inferred if line.startswith("task: ")]
    assert line.endswith("more than 20; --task text-classification decides otherwise")
    refusal = expect_error(lambda: create(raw, guessed, TRANSFORMER, task="text-classification"))
    assert (refusal.field, "upload them with this task" in refusal.message) == ("spec.task", True)
    decided = upload(raw, data, "topics.csv", task="text-classification").dataset
    assert len(decided.report.class_counts) == 30
    assert decided.id != guessed.id


def test_file_name_with_path_is_not_followed(raw: Stubs, made: TunedModels) -> None:
    """Of it nothing but the ending is looked at."""
    reply = upload(raw, texts(*GOOD_ROWS, "one more,sea"), "../../led_out.csv")
    assert reply.dataset.report.example_count == len(GOOD_ROWS) + 1
    assert not list(made.workshop.home.parent.rglob("led_out*"))


# ── uploads that go wrong on the way ──────────────────────────────────────────────────────────────────────────────


def test_interrupted_upload_continues_from_its_offset(raw: Stubs) -> None:
    data = texts(*(f"the {word} of number {i},{word}" for word in ("moon", "sun") for i in range(3000)))
    sha256, half = hashlib.sha256(data).hexdigest(), len(data) // 2

    def cut_off() -> Iterator[pb.UploadDatasetRequest]:
        header = pb.UploadHeader(sha256=sha256, size_bytes=len(data), file_name="sky.csv")
        yield pb.UploadDatasetRequest(header=header)
        yield pb.UploadDatasetRequest(chunk=data[:half])

    refusal = expect_error(lambda: raw.fine_tuning.UploadDataset(cut_off(), timeout=TIMEOUT_S))
    assert refusal.code == "INVALID_ARGUMENT"
    received = raw.fine_tuning.GetUpload(pb.GetUploadRequest(sha256=sha256), timeout=TIMEOUT_S).received_bytes
    assert received == half
    wrong = expect_error(lambda: upload(raw, data, "sky.csv", offset=half - 1))
    assert (wrong.code, wrong.field) == ("INVALID_ARGUMENT", "header.offset")
    whole = upload(raw, data, "sky.csv", offset=half)
    assert not whole.existed
    assert whole.dataset.report.example_count == 6000


def test_upload_with_wrong_digest_is_rejected_and_deleted(raw: Stubs) -> None:
    data, other = texts(*GOOD_ROWS), hashlib.sha256(b"other").hexdigest()
    refusal = expect_error(lambda: upload(raw, data, "texts.csv", sha256=other))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "header.sha256")
    assert raw.fine_tuning.GetUpload(pb.GetUploadRequest(sha256=other), timeout=TIMEOUT_S).received_bytes == 0


# ── jobs that cannot be ───────────────────────────────────────────────────────────────────────────────────────────

JOBS: dict[str, tuple[Callable[[Stubs, TunedModels], object], str, str, str]] = {
    "an unknown base": (
        lambda raw, made: create(raw, made.data["pets"], "efficientnet_lite1"),
        "NOT_FOUND",
        "",
        f"did you mean '{CNN}' or",
    ),
    "a base that does not read such data": (
        lambda raw, made: create(raw, made.data["topics"], CNN),
        "INVALID_ARGUMENT",
        "spec.base",
        "learns from pictures, or pictures with a table, and the data set holds texts",
    ),
    "a task that does not fit": (
        lambda raw, made: create(raw, made.data["topics"], TRANSFORMER, task="image-classification"),
        "INVALID_ARGUMENT",
        "spec.task",
        "does not fit these data",
    ),
    "an unknown hyperparameter": (
        lambda raw, made: create(raw, made.data["topics"], TRANSFORMER, learning_rat=0.1),
        "INVALID_ARGUMENT",
        "spec.hyperparameters.learning_rat",
        "did you mean learning_rate?",
    ),
    "a hyperparameter out of its bounds": (
        lambda raw, made: create(raw, made.data["flats"], "tabular_mlp", learning_rate=-1),
        "INVALID_ARGUMENT",
        "spec.hyperparameters.learning_rate",
        "expected a number, more than 0",
    ),
    "an unknown dataset": (
        lambda raw, made: create(raw, pb.Dataset(id="0" * 32), CNN),
        "NOT_FOUND",
        "",
        "unknown dataset",
    ),
    "the name of a model of the zoo": (
        lambda raw, made: create(raw, made.data["pets"], CNN, model=TRANSFORMER),
        "INVALID_ARGUMENT",
        "spec.model",
        "choose a name of your own",
    ),
    "a name that could be a path": (
        lambda raw, made: create(raw, made.data["pets"], CNN, model="../pets"),
        "INVALID_ARGUMENT",
        "spec.model",
        "",
    ),
}


@pytest.mark.parametrize("what", JOBS)
def test_invalid_job_is_rejected_before_it_is_queued(raw: Stubs, made: TunedModels, what: str) -> None:
    call, code, field, said = JOBS[what]
    jobs = len(list(made.client.jobs()))
    refusal: CallError = expect_error(lambda: call(raw, made), *OWN)
    assert (refusal.code, refusal.field) == (code, field), refusal
    assert said in refusal.message
    assert len(list(made.client.jobs())) == jobs


def test_unknown_job_is_not_found_by_its_id(made: TunedModels) -> None:
    for call in (made.client.job, made.client.cancel_job, made.client.resume_job, made.client.checkpoints):
        with pytest.raises(NotFound, match="nobody") as found:
            call("nobody")
        assert_leaks_nothing(found.value.message)
    with pytest.raises(NotFound, match="nobody"):
        list(made.client.watch_job("nobody"))


def test_repeated_request_id_creates_one_job(made: TunedModels) -> None:
    spec: dict[str, Any] = {"hyperparameters": {"epochs": 1}, "request_id": "just once"}
    first, again = (made.client.create_job("tabular_mlp", made.data["flats"].id, "once", **spec) for _ in range(2))
    assert first.id == again.id
    assert made.workshop.succeeded(first).version == 1
    assert made.client.model("once").versions == (1,)


# ── jobs that go wrong ────────────────────────────────────────────────────────────────────────────────────────────


def test_diverging_job_fails_and_keeps_the_last_good_checkpoint(made: TunedModels) -> None:
    job = made.client.create_job(
        "tabular_mlp", made.data["flats"].id, "wild", hyperparameters={"learning_rate": 1e9, "epochs": 50}
    )
    ended = made.workshop.ended(job)
    assert ended.state == "FAILED"
    assert "diverge" in ended.state_reason
    assert_leaks_nothing(ended.state_reason)
    assert made.client.checkpoints(job.id)
    with pytest.raises(NotFound):
        made.client.model("wild")


def test_forced_delete_of_a_dataset_in_use_fails_the_job_with_that_reason(made: TunedModels, tmp_path: Path) -> None:
    data = made.client.upload_dataset(flats_csv(tmp_path / "flats.csv", rows=300), columns={"target": "rent"})
    job = made.client.create_job("tabular_mlp", data.id, "orphan", hyperparameters=ENDLESS)
    watcher = Watcher(made.client, job)
    watcher.until_step(50)
    with pytest.raises(IllegalMove) as refusal:
        made.client.delete_dataset(data.id)
    assert_leaks_nothing(refusal.value.message)
    assert made.client.delete_dataset(data.id, force=True) > 0
    watcher.end()
    ended = made.client.job(job.id)
    assert (ended.state, watcher.states[-1]) == ("FAILED", "FAILED")
    assert "deleted" in ended.state_reason
    assert_leaks_nothing(ended.state_reason)


def test_concurrent_jobs_for_one_model_become_two_versions(made: TunedModels) -> None:
    jobs: list[Job] = [
        made.client.create_job(
            "tabular_mlp", made.data["flats"].id, "twins", seed=seed, hyperparameters={"epochs": 2}, promote=False
        )
        for seed in (1, 2)
    ]
    assert {made.workshop.succeeded(job).version for job in jobs} == {1, 2}
    versions = made.client.versions("twins").versions
    assert {v.number: v.lineage.seed for v in versions if v.lineage} == {
        made.client.job(job.id).version: job.seed for job in jobs
    }
