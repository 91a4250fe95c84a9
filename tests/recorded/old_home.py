"""A ZOO_HOME that one checkout wrote, opened by another.

`python -m tests.recorded.old_home --make DIR --tree OLD` writes DIR/home (weights, two models of two versions each, aliases,
datasets, a job paused midway, a job whose server was killed) and DIR/expected.jsonl, what its server answered.

`python -m tests.recorded.old_home --check DIR --tree NEW` opens a copy: every version answers as before, the paused job goes on
when it is resumed, the interrupted one by itself, and both results equal that of a job that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from service.pb import fine_tuning_pb2 as pb
from service.pb import models_pb2
from service.pb import open_inference_pb2 as open_pb
from tests.recorded import payloads
from tests.recorded.compare import compare
from tests.recorded.corpus.jobs import create, until_state, until_step
from tests.recorded.corpus.messages import (
    CNN,
    INFER,
    MODELS,
    OPEN,
    PREDICT,
    TRANSFORMER,
    TUNING,
    ask,
    infer,
    job_spec,
    row,
    upload,
)
from tests.recorded.player import Player
from tests.recorded.record import read, write
from tests.recorded.server import REPOSITORY, Server, run_zoo, weights_home

SETTINGS = {"ZOO_MODELS": f"{CNN},{TRANSFORMER}"}
LONG = {"epochs": 400, "patience": 0, "checkpoint_steps": 20, "batch_size": 16, "seed": 5}
MIDWAY = 60
FLAT = row(size=80.0, age=10.0, part="centre")
TEXTS = ({"text": "the tide and the anchor"}, {"text": "an owl in the moss"})
UNDISTURBED, PAUSED, INTERRUPTED = "undisturbed", "paused", "interrupted"


def make(folder: Path, tree: Path) -> None:
    """Writes the home and what its server answered."""
    home = folder / "home"
    home.mkdir(parents=True)
    shutil.copytree(weights_home() / "weights", home / "weights")
    with Server(tree, home, **SETTINGS) as server, closing(Player(server)) as player:
        topics = _uploaded(player, payloads.topics(), "topics.csv")
        flats = _uploaded(player, payloads.flats(), "flats.csv", columns=pb.DatasetColumns(target="rent"))
        never = {"promotion": pb.PROMOTION_NEVER}
        finish(player, job_spec(TRANSFORMER, topics, "topics", method=pb.METHOD_HEAD))
        finish(player, job_spec(TRANSFORMER, topics, "topics", method=pb.METHOD_HEAD, seed=2, head="mlp", **never))
        finish(player, job_spec("tabular_mlp", flats, "rents", epochs=3, seed=1))
        finish(player, job_spec("tabular_mlp", flats, "rents", epochs=5, seed=2, **never))
        finish(player, job_spec("tabular_mlp", flats, UNDISTURBED, **LONG))
        for model, alias, version in (("topics", "best", 1), ("topics", "stable", 2), ("rents", "newest", 2)):
            request = models_pb2.SetAliasRequest(model=model, alias=alias, version=version)
            player.ask(f"{MODELS}/SetAlias", request)
        paused = create(player, PAUSED, job_spec("tabular_mlp", flats, PAUSED, **LONG))
        until_step(player, paused, MIDWAY)
        player.ask(f"{TUNING}/PauseJob", pb.PauseJobRequest(id=paused))
        until_state(player, paused, pb.JOB_STATE_PAUSED)
        if server.stop() != 0:
            raise SystemExit("the server did not end well")
    # What is loaded after a start is not what was loaded after the jobs: the check starts a server, too.
    with Server(tree, home, **SETTINGS) as server, closing(Player(server)) as player:
        player.name(paused, f"job {PAUSED}")
        look(player)
        answer_of_the_undisturbed(player, UNDISTURBED)
        write(player.records, folder / "expected.jsonl")
        interrupted = create(player, INTERRUPTED, job_spec("tabular_mlp", flats, INTERRUPTED, **LONG))
        until_step(player, interrupted, MIDWAY)
        (folder / "jobs.json").write_text(json.dumps({PAUSED: paused, INTERRUPTED: interrupted}))
        server.kill()
        while _works_in(home):
            pass
    print(f"made {home}: {_state_of(home, interrupted)} when its server was killed")


def check(folder: Path, tree: Path) -> list[str]:
    """What is otherwise on a copy of the home that `tree` opens; nothing where all is well."""
    jobs = json.loads((folder / "jobs.json").read_text())
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="zoo-old-home-") as temporary:
        home = Path(temporary) / "home"
        shutil.copytree(folder / "home", home, copy_function=_link_or_copy)
        with Server(tree, home, **SETTINGS) as server, closing(Player(server)) as player:
            player.name(jobs[PAUSED], f"job {PAUSED}")
            player.name(jobs[INTERRUPTED], f"job {INTERRUPTED}")
            state = _job(player, jobs[PAUSED]).state
            if state != pb.JOB_STATE_PAUSED:
                problems.append(f"the paused job is {pb.JobState.Name(state)}")
            look(player)
            answer_of_the_undisturbed(player, UNDISTURBED)
            problems += _unlike(folder, player)
            ended = (pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED, pb.JOB_STATE_CANCELLED)
            player.ask(f"{TUNING}/ResumeJob", pb.ResumeJobRequest(id=jobs[PAUSED]))
            for name, job in jobs.items():
                until_state(player, job, *ended)
                found = _job(player, job)
                print(f"{name}: {pb.JobState.Name(found.state)}, {found.attempts} attempts, {found.promotion_outcome}")
                if (found.state, found.version, found.attempts) != (pb.JOB_STATE_SUCCEEDED, 1, 2):
                    problems.append(f"{name}: {found}")
                    continue
                player.records.clear()
                answer_of_the_undisturbed(player, name)
                expected = [r for r in read(folder / "expected.jsonl") if r["name"] == "/undisturbed"]
                same = expected[0]["replies"][0]["predictions"] == player.records[0]["replies"][0]["predictions"]
                if not same:
                    problems.append(f"{name}: answers otherwise than the job that nobody disturbed")
            code = server.stop()
            if code != 0:
                problems.append(f"exit code {code}")
        doctor = run_zoo(tree, home, "doctor", "--json")
        if doctor.returncode != 0:
            problems.append(f"doctor: {doctor.stdout}")
    return problems


def look(player: Player) -> None:
    """Everything that is to be the same before and after."""
    for model, versions in {"topics": ("", "1", "2", "best", "stable"), "rents": ("", "1", "2", "newest")}.items():
        for version in versions:
            for i, instance in enumerate(TEXTS if model == "topics" else (FLAT,)):
                player.call(f"{model}:{version} {i}", PREDICT, ask(model, instance, version=version))
        player.call(f"model {model}", f"{MODELS}/GetModel", models_pb2.GetModelRequest(name=model))
        player.call(f"versions {model}", f"{MODELS}/ListVersions", models_pb2.ListVersionsRequest(model=model))
        for version in ("1", "2"):
            report = models_pb2.GetReportRequest(model=model, version=version)
            player.call(f"report {model}:{version}", f"{MODELS}/GetReport", report)
    player.call("a photo", PREDICT, ask(CNN, {"image": payloads.CAT}))
    player.call("a text", PREDICT, ask(TRANSFORMER, TEXTS[0]))
    player.call("a row as JSON", INFER, infer("rents", row=[b'{"size": 80, "age": 10, "part": "centre"}']))
    player.call("datasets", f"{TUNING}/ListDatasets", pb.ListDatasetsRequest())
    player.call("jobs that succeeded", f"{TUNING}/ListJobs", pb.ListJobsRequest(state=pb.JOB_STATE_SUCCEEDED))
    player.call("models that are ready", f"{OPEN}/RepositoryIndex", open_pb.RepositoryIndexRequest(ready=True))


def answer_of_the_undisturbed(player: Player, model: str) -> None:
    """The same question to each of the three models of one recipe."""
    player.call(UNDISTURBED, PREDICT, ask(model, FLAT, row(size=33.0, part="hills"), row(age=80.0)), floats="close")


def finish(player: Player, spec: pb.JobSpec) -> None:
    """A job up to its success."""
    job = player.ask(f"{TUNING}/CreateJob", pb.CreateJobRequest(spec=spec)).job.id
    until_state(player, job, pb.JOB_STATE_SUCCEEDED, pb.JOB_STATE_FAILED)
    found = _job(player, job)
    if found.state != pb.JOB_STATE_SUCCEEDED:
        raise SystemExit(f"{spec.model}: {found}")
    print(f"{spec.model} {found.version}: {found.promotion_outcome}", flush=True)


def _job(player: Player, job: str) -> pb.Job:
    found: pb.Job = player.ask(f"{TUNING}/GetJob", pb.GetJobRequest(id=job)).job
    return found


def _uploaded(player: Player, data: bytes, file_name: str, **header: Any) -> str:
    messages = (message.SerializeToString() for message in upload(data, file_name, **header))
    stub = player.channel.stream_unary(f"/{TUNING}/UploadDataset", None, pb.UploadDatasetResponse.FromString)
    found: str = stub(messages).dataset.id
    return found


def _unlike(folder: Path, player: Player) -> list[str]:
    with tempfile.TemporaryDirectory() as temporary:
        now = Path(temporary) / "now.jsonl"
        write(player.records, now)
        found = compare(read(folder / "expected.jsonl"), read(now))
    wording = [difference for difference in found if difference.wording]
    print(f"{len(player.records)} answers compared; {len(wording)} sentences differ")
    return [str(difference) for difference in found if not difference.wording]


def _state_of(home: Path, job: str) -> str:
    with closing(sqlite3.connect(home / "zoo.db")) as database:
        return str(database.execute("SELECT state FROM jobs WHERE id = ?", (job,)).fetchone()[0])


def _works_in(home: Path) -> bool:
    """Whether any process still has a file of the home open."""
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal() or process.name == str(os.getpid()):
            continue
        try:
            if any(str(file.readlink()).startswith(f"{home}/") for file in (process / "fd").iterdir()):
                return True
        except OSError:
            continue
    return False


def _link_or_copy(source: str, target: str) -> str:
    """Weights are never written, so they are shared; everything else is copied."""
    if "/weights/" in source and source.endswith(".safetensors"):
        Path(target).symlink_to(source)
        return target
    return str(shutil.copy2(source, target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--make", type=Path, metavar="DIR", help="write a home and what it answers; DIR must not exist")
    what.add_argument("--check", type=Path, metavar="DIR", help="open a copy of the home and compare")
    parser.add_argument("--tree", type=Path, default=REPOSITORY, help="checkout whose .venv/bin/zoo is the server")
    given = parser.parse_args()
    tree = given.tree.resolve()
    if given.make is not None:
        make(given.make.resolve(), tree)
        return
    problems = check(given.check.resolve(), tree)
    print("\n".join(problems) or "the old home opens, serves and finishes its jobs")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
