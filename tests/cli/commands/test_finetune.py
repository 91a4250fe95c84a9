"""`zoo finetune` and `zoo jobs`: what people see, what programs see, and how they end."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import Result

from service.cli.commands.finetune import with_option_names
from service.cli.rendering.job_progress import JobView, PlainLines, sparkline
from service.client import BadInput, Client, Job, JobEvent, JobProgress, LogLine, MetricValue, StateChanged
from service.client.upload import kinds_in
from tests.support.cli_fine_tuning import BADLY
from tests.support.cli_server import FakeZoo

Run = Callable[..., Result]
BASE = "efficientnet_lite0"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.jpg").write_bytes(name.encode())
    return folder


@pytest.fixture
def jobs(zoo: FakeZoo) -> Iterator[list[Job]]:
    """Two jobs that wait."""
    with Client(zoo.target) as client:
        yield [client.create_job(BASE, "d1", "pets", hyperparameters={"epochs": 3}) for _ in range(2)]


# ── finetune ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_finetune_prints_report_progress_metrics_and_the_predict_command(run: Run, zoo: FakeZoo, photos: Path) -> None:
    done = run("finetune", BASE, str(photos), "--name", "pets", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0].endswith("(photos.zip): 48 examples of 3 classes, image_folder")
    assert lines[1] == "  kind: image_folder, because the archive holds pictures"
    assert lines[2] == "  dog 25, cat 20, mug 3"
    assert "    cat/a.jpg: it is no picture" in lines
    assert "  warning: class 'mug' has only 3 examples" in lines
    assert "RUNNING" in lines
    assert "training 25%, epoch 1, step 5 of 20, about 1 min left" in lines
    assert "validation accuracy 0.75 (epoch 1, step 10)" in lines
    assert "warning: class 'mug' has 3 examples" in lines
    assert not any("train loss" in line for line in lines)
    [accuracy] = [line.split() for line in lines if line.startswith("accuracy")]
    assert accuracy == ["accuracy", "*", "0.9375", "0.85", "to", "1", "0.3125"]
    assert "pets version 1 is there after 40 s" in lines
    assert "stable is version 1 now: better than the baseline" in lines
    assert f"  zoo report pets --version 1 --html report.html --server {zoo.target}" in lines
    assert lines[-1] == f"  zoo predict --server {zoo.target} pets photo.jpg"
    assert "\x1b" not in done.output


def test_links_that_are_not_sent_are_named_with_the_reason(run: Run, zoo: FakeZoo, photos: Path, tmp_path: Path) -> None:
    (photos / "birds").symlink_to(tmp_path)
    (photos / "gone.jpg").symlink_to("nowhere")
    done = run("finetune", BASE, str(photos), "--name", "pets", "--detach", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    lines = [line.strip() for line in done.stdout.splitlines()]
    at = lines.index("not sent 2:")
    assert lines[at + 1 : at + 3] == [
        "birds is a link that leads out of the folder",
        "gone.jpg is a link that leads nowhere",
    ]


@pytest.mark.parametrize("data", ["", "  "])
def test_blank_data_is_rejected_and_the_current_folder_is_not_sent(
    run: Run, zoo: FakeZoo, photos: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    monkeypatch.chdir(photos)
    done = run("finetune", BASE, data, "--name", "pets", "--server", zoo.target)
    assert done.exit_code == 1
    assert f"expected a file, a folder or a URI, got {data!r}" in done.stderr
    with Client(zoo.target) as client:
        with pytest.raises(BadInput, match="the current folder"):
            client.upload_dataset(data)
        with pytest.raises(BadInput, match="the current folder"):
            client.check_job(BASE, "pets", kinds=kinds_in(data))
    assert not zoo.calls["UploadDataset"]


def test_finetune_options_reach_the_server(run: Run, zoo: FakeZoo, tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text("review,stars\ngood,5\n")
    done = run(
        "finetune", BASE, str(file), "--name", "stars", "--server", zoo.target, "--method", "LoRA", "--task", "regression",
        "--kind", "text", "--text", "review", "--target", "stars", "--split", "part", "--ignore", "id", "--ignore", "day",
        "--set", "learning_rate=1e-3", "--set", "epochs=5", "--set", "augmentation=light", "--seed", "7",
        "--priority", "2", "--no-promote", "--detach",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    [header] = zoo.calls["UploadDataset.header"]
    columns = header.columns
    assert header.task == "regression"
    assert (columns.text, columns.target, columns.split, list(columns.ignored)) == (
        "review",
        "stars",
        "part",
        ["id", "day"],
    )
    [request] = zoo.calls["CreateJob"]
    spec = request.spec
    assert dict(spec.hyperparameters) == {"learning_rate": 1e-3, "epochs": 5, "augmentation": "light"}
    assert (spec.task, spec.method, spec.seed, spec.priority, spec.promotion) == ("regression", 3, 7, 2, 2)
    assert done.stdout.splitlines()[-1] == f"  zoo jobs watch 10abcdef --server {zoo.target}"
    assert not zoo.calls["WatchJob"]


def test_failed_job_prints_its_reason_and_exits_with_one(run: Run, zoo: FakeZoo, photos: Path) -> None:
    zoo.script = BADLY
    done = run("finetune", BASE, str(photos), "--name", "pets", "--server", zoo.target)
    assert done.exit_code == 1
    assert done.stderr == "job 10abcdef is FAILED: training diverges: the loss is no number after step 5\n"


def test_json_output_has_dataset_job_events_and_result_lines(run: Run, zoo: FakeZoo, photos: Path) -> None:
    done = run("finetune", BASE, str(photos), "--name", "pets", "--json", "--server", zoo.target)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [next(iter(line)) for line in lines] == ["dataset", "job", *["event"] * 11, "result"]
    assert lines[0]["dataset"]["report"]["class_counts"]["mug"] == 3
    measured = [line["event"] for line in lines if line.get("event", {}).get("kind") == "metric"]
    assert (measured[0]["name"], measured[0]["split"], measured[0]["value"]) == ("loss", "train", 1.5)
    assert (lines[-1]["result"]["state"], lines[-1]["result"]["version"]) == ("SUCCEEDED", 1)
    assert lines[-1]["report"]["metrics"]["accuracy"]["value"] == 0.9375


def test_stored_dataset_is_found_by_id_or_prefix(run: Run, zoo: FakeZoo, photos: Path) -> None:
    assert run("finetune", BASE, str(photos), "--name", "pets", "--server", zoo.target).exit_code == 0
    [dataset_id] = zoo.datasets
    done = run("finetune", BASE, dataset_id[:6], "--name", "more", "--detach", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    assert zoo.calls["CreateJob"][-1].spec.dataset_id == dataset_id
    assert len(zoo.calls["UploadDataset"]) == 1
    done = run("finetune", BASE, dataset_id, "--name", "more", "--target", "x", "--server", zoo.target)
    assert done.exit_code == 1
    assert "stored already" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("photos.zip",), 1, "there is no file or folder 'photos.zip'"),
        (("abc123",), 1, "'abc123' is no file, no folder and no dataset of the server"),
        (("PHOTOS", "--method", "magic"), 1, "method: expected one of auto, head, full, lora, got 'magic'"),
        (("PHOTOS", "--kind", "pictures"), 1, "kind: expected one of image_folder"),
        (("PHOTOS", "--set", "epochs"), 2, "NAME=VALUE"),
    ],
)
def test_wrong_argument_prints_one_sentence_and_creates_no_job(
    run: Run, zoo: FakeZoo, photos: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    given = [str(photos) if argument == "PHOTOS" else argument for argument in arguments]
    done = run("finetune", BASE, *given, "--name", "pets", "--server", zoo.target)
    assert done.exit_code == code
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not zoo.calls["CreateJob"]


def test_job_rejected_by_the_server_names_the_option(run: Run, zoo: FakeZoo, photos: Path, nowhere: str) -> None:
    problem = "spec.hyperparameters.epochz: unknown hyperparameter; did you mean epochs?"
    zoo.fail_next("CreateJob", "INVALID_ARGUMENT", problem, reason="INVALID_INPUT", field="spec.hyperparameters.epochz")
    done = run("finetune", BASE, str(photos), "--name", "pets", "--set", "epochz=5", "--server", zoo.target)
    assert (done.exit_code, done.stderr) == (1, "--set epochz: unknown hyperparameter; did you mean epochs?\n")
    done = run("finetune", BASE, str(photos), "--name", "pets", "--server", nowhere)
    assert (done.exit_code, done.stderr) == (1, f"no server answers at {nowhere}; start one with `zoo serve`\n")


def test_ctrl_c_while_watching_leaves_the_job_running_and_prints_the_watch_command(
    run: Run, zoo: FakeZoo, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Client.watch_job

    def interrupted(self: Client, job_id: str, *, after: int = 0) -> Iterator[JobEvent]:
        events = real(self, job_id, after=after)
        yield next(events)
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "watch_job", interrupted)
    done = run("finetune", BASE, str(photos), "--name", "pets", "--server", zoo.target)
    assert done.exit_code == 130
    assert "detached; job 10abcdef goes on" in done.stderr
    assert f"zoo jobs watch 10abcdef --server {zoo.target}" in done.stderr
    assert f"zoo jobs cancel 10abcdef --server {zoo.target}" in done.stderr
    assert not zoo.calls["CancelJob"]


def test_ctrl_c_during_upload_says_that_the_upload_can_continue(
    run: Run, zoo: FakeZoo, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "upload_dataset", interrupted)
    done = run("finetune", BASE, str(photos), "--name", "pets", "--server", zoo.target)
    assert done.exit_code == 130
    assert "the same command goes on where it stopped" in done.stderr


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_jobs_list_states_and_filter_by_state(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    done = run("jobs", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    head, *rows = done.stdout.splitlines()
    assert head.split()[:5] == ["id", "model", "base", "method", "state"]
    assert [row.split()[0] for row in rows] == [job.id for job in jobs]
    assert run("jobs", "--state", "running", "--server", zoo.target).stderr == "the server has no such jobs\n"
    listed = json.loads(run("jobs", "--json", "--server", zoo.target).stdout)
    assert [job["state"] for job in listed["jobs"]] == ["QUEUED", "QUEUED"]


def test_jobs_list_owners_if_callers_name_themselves(
    run: Run, zoo: FakeZoo, photos: Path, jobs: list[Job]
) -> None:
    whole = ("finetune", BASE, str(photos), "--name", "pets", "--detach", "--server", zoo.target)
    assert run(*whole, "--owner", "ann").exit_code == 0
    assert run(*whole, env={"ZOO_OWNER": "bob"}).exit_code == 0
    head, *rows = run("jobs", "--server", zoo.target).stdout.splitlines()
    assert head.split()[:3] == ["id", "owner", "model"]
    assert [row.split()[1] for row in rows] == ["pets", "pets", "ann", "bob"], "those of nobody have none"
    assert [
        row.split()[1] for row in run("jobs", "--owner", "bob", "--server", zoo.target).stdout.splitlines()[1:]
    ] == ["bob"]
    mine = run("jobs", "--server", zoo.target, env={"ZOO_OWNER": "bob"}).stdout
    assert len(mine.splitlines()) == 5, "who asks does not narrow what is listed"


def test_job_delete_takes_an_id_prefix_and_needs_an_ended_job(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    done = run("jobs", "delete", "10", "--server", zoo.target)
    assert (done.exit_code, done.stderr) == (1, "a job that is QUEUED cannot be deleted\n")
    assert run("jobs", "watch", "10", "--server", zoo.target).exit_code == 0
    assert run("jobs", "delete", "10", "--server", zoo.target).stdout == "deleted job 10abcdef, 2.0 MB freed\n"
    assert run("jobs", "watch", "11", "--server", zoo.target).exit_code == 0
    deleted = json.loads(run("jobs", "delete", "11", "--json", "--server", zoo.target).stdout)
    assert deleted == {"server": zoo.target, "deleted": "11abcdef", "freed_bytes": 2_000_000}
    assert not zoo.jobs


def test_job_pause_resume_and_cancel_take_an_id_prefix(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    assert run("jobs", "pause", "11", "--server", zoo.target).stdout == "job 11abcdef is PAUSED\n"
    assert run("jobs", "resume", "11a", "--server", zoo.target).stdout == "job 11abcdef is QUEUED\n"
    assert run("jobs", "cancel", jobs[0].id, "--server", zoo.target).stdout == (
        "job 10abcdef is CANCELLING; it ends within a step\n"
    )
    moved = json.loads(run("jobs", "cancel", "11", "--json", "--server", zoo.target).stdout)
    assert moved["job"]["state"] == "CANCELLING"
    done = run("jobs", "pause", "1", "--server", zoo.target)
    assert (done.exit_code, done.stderr) == (1, "'1' fits 2 jobs: 10abcdef, 11abcdef\n")
    done = run("jobs", "pause", "x", "--server", zoo.target)
    assert (done.exit_code, done.stderr) == (1, "unknown job 'x'\n")


def test_job_show_prints_spec_and_checkpoints(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    done = run("jobs", "show", "10", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    shown = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in done.stdout.splitlines()}
    assert (shown["base"], shown["chosen by hand"]) == (BASE, "epochs=3")
    assert shown["checkpoints"] == "at step 20 (2.0 MB); the best is 20"
    whole = json.loads(run("jobs", "show", "10", "--json", "--server", zoo.target).stdout)
    assert whole["checkpoints"][0]["step"] == 20


def test_job_watch_prints_events_until_the_job_has_ended(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    done = run("jobs", "watch", "10", "--after", "7", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:3] == ["validation accuracy 0.9 (epoch 2, step 20)", "evaluation 90%", "SUCCEEDED"]
    zoo.script = BADLY
    with Client(zoo.target) as client:
        client.create_job(BASE, "d1", "pets")
    assert run("jobs", "watch", "12", "--server", zoo.target).exit_code == 1


def test_options_before_a_jobs_command_are_rejected(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    done = run("jobs", "--server", zoo.target, "show", "10")
    assert done.exit_code == 2
    assert "options belong behind 'show'" in done.stderr
    assert run("jobs", "show", "10", env={"ZOO_SERVER": zoo.target}).exit_code == 0


# ── datasets ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_datasets_list_show_and_delete_take_an_id_prefix(run: Run, zoo: FakeZoo, photos: Path) -> None:
    assert run("datasets", "--server", zoo.target).stderr == "the server has no datasets\n"
    run("finetune", BASE, str(photos), "--name", "pets", "--detach", "--server", zoo.target)
    [dataset_id] = zoo.datasets
    assert run("datasets", "--server", zoo.target).stdout.splitlines()[1].split()[:3] == [
        dataset_id,
        "photos.zip",
        "image_folder",
    ]
    done = run("datasets", "show", dataset_id[:5], "--server", zoo.target)
    assert "    cat/a.jpg: it is no picture" in done.stdout.splitlines()
    assert json.loads(run("datasets", "show", dataset_id, "--json", "--server", zoo.target).stdout)["dataset"]["id"]
    done = run("datasets", "delete", dataset_id[:5], "--force", "--server", zoo.target)
    assert done.stdout.startswith(f"deleted dataset {dataset_id}, ")
    assert zoo.calls["DeleteDataset"][0].force
    assert not zoo.datasets


# ── the view on a terminal ────────────────────────────────────────────────────────────────────────────────────────


def _job() -> Job:
    blank: dict[str, Any] = dict.fromkeys(Job.__dataclass_fields__, "")
    return Job(**blank | {"id": "1a", "base": BASE, "model": "pets", "state": "QUEUED", "progress": JobProgress()})


def _rendered(view: JobView) -> str:
    console = Console(width=120, force_terminal=True, color_system=None)
    with console.capture() as text:
        console.print(view.shown())
    return text.get()


def test_job_view_renders_state_progress_curves_and_log() -> None:
    view = JobView(_job())
    assert "QUEUED" in _rendered(view)
    whats: list[Any] = [StateChanged("RUNNING", ""), JobProgress("training", 0.5, 10, 20, 1, 30.0)]
    whats += [MetricValue("loss", "train", 2.0 - i / 8, i, 1) for i in range(16)]
    whats += [LogLine("info", f"line {i}\x1b[2J") for i in range(9)]
    for i, what in enumerate(whats, 1):
        view.update(JobEvent(i, None, what))
    shown = _rendered(view)
    assert "RUNNING" in shown
    assert "training 50%, epoch 1, step 10 of 20, about 30 s left" in shown
    assert f"train loss  0.125  {sparkline([2.0 - i / 8 for i in range(16)])}" in shown
    assert "line 8\\x1b[2J" in shown
    assert "line 3" not in shown, "only the last lines"


def test_job_view_without_unicode_is_ascii() -> None:
    view = JobView(_job(), fancy=False)
    for i in range(4):
        view.update(JobEvent(i, None, MetricValue("loss", "train", float(i), i, 1)))
    assert _rendered(view).isascii()


def test_sparkline_maps_values_to_block_heights() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5.0, 5.0]) == "▁▁"
    assert len(sparkline([float(i) for i in range(1000)])) == 32
    assert sparkline([1.0, float("nan"), 3.0]) == "▁ █"
    assert sparkline([float("nan")]) == ""


def test_plain_lines_print_progress_in_tenths() -> None:
    lines = PlainLines()
    told = [line for i in range(101) for line in lines.of(JobEvent(i, None, JobProgress("training", i / 100)))]
    assert len(told) == 11
    assert told[0] == "training 0%"


def test_plain_lines_join_the_metrics_of_a_step() -> None:
    lines = PlainLines()
    told = lines.of(JobEvent(1, None, MetricValue("loss", "validation", 0.5, 8, 1)))
    told += lines.of(JobEvent(2, None, MetricValue("loss", "train", 0.4, 8, 1)))
    told += lines.of(JobEvent(3, None, MetricValue("accuracy", "validation", 0.9, 8, 1)))
    told += lines.of(JobEvent(4, None, MetricValue("loss", "validation", 0.25, 16, 2)))
    assert told == ["validation loss 0.5, accuracy 0.9 (epoch 1, step 8)"]
    assert lines.rest() == ["validation loss 0.25 (epoch 2, step 16)"]
    assert lines.rest() == []


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ("header.columns.target: there is no column 'lable'", "--target: there is no column 'lable'"),
        ("header.file_name: expected a name that ends in .csv", "DATA: expected a name that ends in .csv"),
        ("spec.hyperparameters.lr: unknown hyperparameter", "--set lr: unknown hyperparameter"),
        ("spec.method: expected 'head'", "--method: expected 'head'"),
        ("unknown base model 'x'; did you mean 'y'?", "unknown base model 'x'; did you mean 'y'?"),
    ],
)
def test_server_error_names_the_option_instead_of_the_field(refusal: str, told: str) -> None:
    assert with_option_names(refusal) == told


def test_job_that_the_server_rejects_is_not_uploaded(run: Run, zoo: FakeZoo, photos: Path) -> None:
    problem = "spec.method: 'silero_vad' is no Transformer"
    zoo.fail_next("CreateJob.judged", "INVALID_ARGUMENT", problem, reason="INVALID_INPUT", field="spec.method")
    arguments = ("--method", "lora", "--set", "rank=4", "--kind", "image-folder", "--server", zoo.target)
    done = run("finetune", BASE, str(photos), "--name", "pets", *arguments)
    assert (done.exit_code, done.stderr) == (1, "--method: 'silero_vad' is no Transformer\n")
    [judged] = zoo.calls["CreateJob.judged"]
    assert (judged.spec.base, judged.spec.model, judged.spec.dataset_id, judged.spec.method) == (BASE, "pets", "", 3)
    assert (dict(judged.spec.hyperparameters), judged.dataset_kinds) == ({"rank": 4}, [1])
    assert not zoo.calls["GetUpload"]
    assert not zoo.calls["UploadDataset.header"]


def test_job_watch_on_a_terminal_renders_until_the_job_has_ended(
    run: Run, zoo: FakeZoo, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=100, force_terminal=True, color_system=None)
    monkeypatch.setattr("service.cli.rendering.job_progress.stdout_console", lambda: console)
    done = run("jobs", "watch", "10", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    last = screen.getvalue().rpartition("job 10abcdef")[2]
    assert "SUCCEEDED" in last
    assert "validation accuracy  0.9" in last
    assert done.stdout.splitlines()[-1].endswith("pets photo.jpg")


@pytest.mark.parametrize("verb", ["finetune", "jobs", "datasets", "versions", "report", "promote", "canary", "alias"])
def test_fine_tuning_command_help_exits_with_zero(run: Run, verb: str) -> None:
    assert run(verb, "--help").exit_code == 0
