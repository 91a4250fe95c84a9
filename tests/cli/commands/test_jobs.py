"""`zoo jobs`: lists, states and the watch of a job."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import Result

from service.client import Client, Job
from tests.support.fake_zoo.fine_tuning import BASE, FAILING_JOB
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


def test_jobs_list_states_and_filter_by_state(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    done = run("jobs", "--server", zoo.target)
    assert done.exit_code == 0, done.output
    head, *rows = done.stdout.splitlines()
    assert head.split()[:5] == ["id", "model", "base", "method", "state"]
    assert [row.split()[0] for row in rows] == [job.id for job in jobs]
    assert run("jobs", "--state", "running", "--server", zoo.target).stderr == "the server has no such jobs\n"
    listed = json.loads(run("jobs", "--json", "--server", zoo.target).stdout)
    assert [job["state"] for job in listed["jobs"]] == ["QUEUED", "QUEUED"]


def test_jobs_list_owners_if_callers_name_themselves(run: Run, zoo: FakeZoo, photos: Path, jobs: list[Job]) -> None:
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
    assert not zoo.fine_tuning.jobs


def test_job_pause_resume_and_cancel_take_an_id_prefix(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    assert run("jobs", "pause", "11", "--server", zoo.target).stdout == "job 11abcdef is PAUSED\n"
    assert run("jobs", "resume", "11a", "--server", zoo.target).stdout == "job 11abcdef is QUEUED\n"
    assert run("jobs", "cancel", jobs[0].id, "--server", zoo.target).stdout == (
        "job 10abcdef is CANCELLING; it ends within a step\n"
    )
    moved = json.loads(run("jobs", "cancel", "11", "--json", "--server", zoo.target).stdout)
    assert moved["job"]["state"] == "CANCELLING"
    done = run("jobs", "pause", "1", "--server", zoo.target)
    assert (done.exit_code, done.stderr) == (1, "'1' matches 2 jobs: 10abcdef, 11abcdef\n")
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
    zoo.fine_tuning.script = FAILING_JOB
    with Client(zoo.target) as client:
        client.create_job(BASE, "d1", "pets")
    assert run("jobs", "watch", "12", "--server", zoo.target).exit_code == 1


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


def test_options_before_a_jobs_command_are_rejected(run: Run, zoo: FakeZoo, jobs: list[Job]) -> None:
    done = run("jobs", "--server", zoo.target, "show", "10")
    assert done.exit_code == 2
    assert "options belong after 'show'" in done.stderr
    assert run("jobs", "show", "10", env={"ZOO_SERVER": zoo.target}).exit_code == 0
