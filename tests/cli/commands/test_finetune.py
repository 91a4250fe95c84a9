"""`zoo finetune`: output for people and for programs, options, and exit codes."""

import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from service.cli.commands.finetune import with_option_names
from service.client import BadInput, Client, JobEvent
from service.client.upload import kinds_in
from tests.support.fake_zoo.fine_tuning import BASE, FAILING_JOB
from tests.support.fake_zoo.models import add_columns, add_structured
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


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
    assert "pets version 1 is published after 40 s" in lines
    assert "stable is version 1 now: better than the baseline" in lines
    assert f"  zoo report pets --version 1 --html report.html --server {zoo.target}" in lines
    assert lines[-1] == f"  zoo predict --server {zoo.target} pets photo.jpg"
    assert "\x1b" not in done.output


def test_table_takes_the_target_that_its_base_knows_and_the_last_line_runs_as_it_is(
    run: Run, zoo: FakeZoo, tmp_path: Path
) -> None:
    add_structured(zoo.model_service)
    add_columns(zoo.model_service)
    table = tmp_path / "flats.csv"
    table.write_text("id,town,area,rent\n1,Köln,70.5,900\n2,Bonn,40,600\n")
    words = ("finetune", "flats", str(table), "--name", "mine", "--server", zoo.target)
    done = run(*words, "--ignore", "id")
    assert done.exit_code == 0, done.output
    [header] = zoo.calls["UploadDataset.header"]
    assert (header.columns.target, header.columns.ignored) == ("rent", ["id"])
    assert "the target is column 'rent', which flats predicts; --target decides otherwise" in done.stderr
    *command, argument = shlex.split(done.stdout.splitlines()[-1])
    assert command == ["zoo", "predict", "--server", zoo.target, "mine"]
    assert json.loads(argument) == {"area": 70.5, "town": "Köln"}
    run(*words, "--target", "area", "--detach")
    assert zoo.calls["UploadDataset.header"][-1].columns.target == "area"
    table.write_text("town,area,price\nKöln,70.5,900\n")  # the server decides, as for any other base
    run(*words, "--detach")
    assert not zoo.calls["UploadDataset.header"][-1].columns.target


@pytest.mark.parametrize("wrong", [("none.csv",), ("PHOTOS", "--method", "magic"), ("PHOTOS", "--set", "epochs")])
def test_mistake_of_a_command_line_is_told_before_a_server_is_called(
    run: Run, photos: Path, nowhere: str, wrong: tuple[str, ...]
) -> None:
    given = [str(photos) if argument == "PHOTOS" else argument for argument in wrong]
    done = run("finetune", BASE, *given, "--name", "pets", "--server", nowhere)
    assert done.exit_code == 2
    assert "no server answers" not in done.stderr


def test_links_that_are_not_sent_are_named_with_the_reason(
    run: Run, zoo: FakeZoo, photos: Path, tmp_path: Path
) -> None:
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
    zoo.fine_tuning.script = FAILING_JOB
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
    [dataset_id] = zoo.fine_tuning.datasets
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
        (("photos.zip",), 2, "there is no file or folder 'photos.zip'"),
        (("abc123",), 1, "'abc123' is neither a file or folder nor a dataset of the server"),
        (("PHOTOS", "--method", "magic"), 2, "--method: expected auto, head, full or lora, got 'magic'"),
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
    assert "detached; job 10abcdef continues" in done.stderr
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
    assert "the same command continues from there" in done.stderr


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
    zoo.fail_next("CreateJob.validate", "INVALID_ARGUMENT", problem, reason="INVALID_INPUT", field="spec.method")
    arguments = ("--method", "lora", "--set", "rank=4", "--kind", "image-folder", "--server", zoo.target)
    done = run("finetune", BASE, str(photos), "--name", "pets", *arguments)
    assert (done.exit_code, done.stderr) == (1, "--method: 'silero_vad' is no Transformer\n")
    [judged] = zoo.calls["CreateJob.validate"]
    assert (judged.spec.base, judged.spec.model, judged.spec.dataset_id, judged.spec.method) == (BASE, "pets", "", 3)
    assert (dict(judged.spec.hyperparameters), judged.dataset_kinds) == ({"rank": 4}, [1])
    assert not zoo.calls["GetUpload"]
    assert not zoo.calls["UploadDataset.header"]


@pytest.mark.parametrize("verb", ["finetune", "jobs", "datasets", "versions", "report", "promote", "canary", "alias"])
def test_fine_tuning_command_help_exits_with_zero(run: Run, verb: str) -> None:
    assert run(verb, "--help").exit_code == 0
