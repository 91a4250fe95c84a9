"""Fine-tune jobs: those that cannot be, those that succeed, and every move between their states."""

from __future__ import annotations

from typing import Any

from google.protobuf.struct_pb2 import Struct

from service.pb import fine_tuning_pb2 as pb
from service.pb import models_pb2
from tests.recorded.corpus.datasets import dataset_id
from tests.recorded.corpus.messages import (
    CNN,
    TRANSFORMER,
    TUNING,
    job_spec,
)
from tests.recorded.player import TRAINED, UNFINISHED, Player

CREATE = f"{TUNING}/CreateJob"
ENDLESS = {"epochs": 10_000, "patience": 0, "checkpoint_steps": 20, "batch_size": 16}
SHORT = {"epochs": 3, "patience": 0}
MIDWAY = 40

MADE = {
    "rents": ("tabular_mlp", "flats", {"seed": 1, **SHORT}),
    "rents again": ("tabular_mlp", "flats", {"seed": 2, "promotion": pb.PROMOTION_NEVER, **SHORT}),
    "rents once more": ("tabular_mlp", "more flats", {"epochs": 1, "hidden": 8, "layers": 1}),
    "kinds": ("tabular_mlp", "kinds", {**SHORT, "display_name": "Kinds of leaves"}),
    "topics": (TRANSFORMER, "topics", {"method": pb.METHOD_HEAD}),
    "topics by lora": (TRANSFORMER, "topics", {"method": pb.METHOD_LORA, "epochs": 1, "rank": 2}),
    "colours": (CNN, "photos", {"method": pb.METHOD_HEAD}),
    "pitches": ("speaker_lstm", "sounds", {}),
    "sales": ("series_gru", "sales", {"epochs": 2, "context": 21, "horizon": 7}),
    "poet": ("char_lstm", "poem", {"epochs": 1}),
    "houses": (CNN, "houses", {}),
}
"""Name → base, dataset, and what is not left to Zoo. What follows the first word of a name is no part of the model's."""


def play(player: Player) -> None:
    data = {name: dataset_id(player, name) for name in ("flats", "more flats", "kinds", "topics", "photos", "sales")}
    data |= {name: dataset_id(player, name) for name in ("poem", "sounds", "houses")}
    with player.group("jobs that cannot be"):
        _refused(player, data)
    for name, (base, dataset, more) in MADE.items():
        with player.group(f"job {name}", floats=TRAINED):
            run(player, name, job_spec(base, data[dataset], name.partition(" ")[0], **more))
    with player.group("a job that diverges", floats=TRAINED):
        wild = job_spec("tabular_mlp", data["flats"], "wild", learning_rate=1e9, epochs=30)
        job = run(player, "wild", wild)
        player.call("its checkpoints", f"{TUNING}/ListCheckpoints", pb.ListCheckpointsRequest(job_id=job))
        player.call("its model", "zoo.v1.Models/GetModel", models_pb2.GetModelRequest(name="wild"))
    with player.group("moves", floats=TRAINED, metrics=False, without=UNFINISHED):
        _moves(player, data)
    with player.group("owners and quotas", floats=TRAINED, metrics=False, without=UNFINISHED):
        _owners(player, data)
    with player.group("data in use", floats=TRAINED, metrics=False, without=UNFINISHED):
        _data_in_use(player)
    with player.group("lists of jobs", floats=TRAINED, without=UNFINISHED):
        _lists(player)


def run(player: Player, name: str, spec: pb.JobSpec, *, metadata: Any = ()) -> str:
    """A job from its creation to its end."""
    job = create(player, name, spec, metadata=metadata)
    follow(player, "to its end", job)
    player.call("at its end", f"{TUNING}/GetJob", pb.GetJobRequest(id=job))
    return job


def create(player: Player, name: str, spec: pb.JobSpec, *, request_id: str = "", metadata: Any = ()) -> str:
    """Queues a job and gives its id, which is `<job NAME>` in the recording."""
    request = pb.CreateJobRequest(spec=spec, request_id=request_id)
    named = lambda reply: {reply.job.id: f"job {name}"}  # noqa: E731
    reply = player.call(f"create {name}", CREATE, request, metadata=metadata, named=named)
    found: str = reply.job.id
    return found


def follow(player: Player, name: str, job: str, **more: Any) -> list[Any]:
    """What happens to a job, without what is told by the clock: how far it is, and figures of training between two epochs."""
    request = pb.WatchJobRequest(id=job)

    def keep(reply: pb.WatchJobResponse) -> bool:
        kind = reply.event.WhichOneof("kind")
        return kind != "progress" and not (kind == "metric" and reply.event.metric.split == "train")

    found: list[Any] = player.watch(name, f"{TUNING}/WatchJob", request, keep=keep, **more)
    return found


def until_step(player: Player, job: str, step: int) -> None:
    """Waits for a checkpoint, unrecorded."""
    _wait(player, job, lambda e: e.WhichOneof("kind") == "checkpoint" and e.checkpoint.step >= step)


def until_state(player: Player, job: str, *states: int) -> None:
    """Waits for the job to be in one of these states, unrecorded."""
    stub = player.channel.unary_stream(
        f"/{TUNING}/WatchJob", pb.WatchJobRequest.SerializeToString, pb.WatchJobResponse.FromString
    )
    call = stub(pb.WatchJobRequest(id=job))
    for reply in call:
        if reply.HasField("job") and reply.job.state in states:
            break
    call.cancel()


def _wait(player: Player, job: str, wanted: Any) -> None:
    stub = player.channel.unary_stream(
        f"/{TUNING}/WatchJob", pb.WatchJobRequest.SerializeToString, pb.WatchJobResponse.FromString
    )
    call = stub(pb.WatchJobRequest(id=job))
    for reply in call:
        if wanted(reply.event):
            break
    call.cancel()


def _refused(player: Player, data: dict[str, str]) -> None:
    flats, photos, topics = data["flats"], data["photos"], data["topics"]
    specs = {
        "good": job_spec("tabular_mlp", flats, "fine", epochs=2),
        "good with a head": job_spec(CNN, photos, "fine", method=pb.METHOD_HEAD, head="mlp", hidden=16),
        "good without data": job_spec(CNN, "", "fine"),
        "no base": job_spec("", flats, "wrong"),
        "an unknown base": job_spec("efficientnet_lite1", photos, "wrong"),
        "a base that does not read such data": job_spec(CNN, topics, "wrong"),
        "a task that does not fit": job_spec(TRANSFORMER, topics, "wrong", task="image-classification"),
        "an unknown task": job_spec(TRANSFORMER, topics, "wrong", task="cooking"),
        "a method that does not fit": job_spec(CNN, photos, "wrong", method=pb.METHOD_LORA),
        "a method that is none": job_spec(CNN, photos, "wrong", method=99),
        "an unknown hyperparameter": job_spec(TRANSFORMER, topics, "wrong", learning_rat=0.1),
        "a hyperparameter out of bounds": job_spec("tabular_mlp", flats, "wrong", learning_rate=-1),
        "a hyperparameter of another kind": job_spec("tabular_mlp", flats, "wrong", epochs="many"),
        "a hyperparameter between numbers": job_spec("tabular_mlp", flats, "wrong", epochs=1.5),
        "a hyperparameter of another method": job_spec(CNN, photos, "wrong", method=pb.METHOD_HEAD, rank=4),
        "an unknown dataset": job_spec(CNN, "0" * 32, "wrong"),
        "no dataset": job_spec(CNN, "", "wrong"),
        "the name of a model of the zoo": job_spec(CNN, photos, TRANSFORMER),
        "a name that could be a path": job_spec(CNN, photos, "../photos"),
        "a name in capitals": job_spec(CNN, photos, "Photos"),
        "no name": job_spec(CNN, photos, ""),
        "a negative seed": job_spec(CNN, photos, "wrong", seed=-1),
        "a priority of 10": job_spec(CNN, photos, "wrong", priority=10),
        "a promotion that is none": job_spec(CNN, photos, "wrong", promotion=99),
        "an endless display name": job_spec(CNN, photos, "wrong", display_name="n" * 200),
    }
    for name, spec in specs.items():
        request = pb.CreateJobRequest(spec=spec, validate_only=True)
        player.call(f"would be refused: {name}", CREATE, request)
        if not name.startswith("good"):
            player.call(f"is refused: {name}", CREATE, pb.CreateJobRequest(spec=spec))
    kinds = [pb.DATASET_KIND_TABLE, pb.DATASET_KIND_IMAGE_FOLDER]
    for base in (CNN, TRANSFORMER):
        request = pb.CreateJobRequest(spec=job_spec(base, "", "fine"), validate_only=True, dataset_kinds=kinds)
        player.call(f"kinds of data to come for {base}", CREATE, request)
    player.call("no spec", CREATE, pb.CreateJobRequest())
    endless = pb.CreateJobRequest(spec=specs["good"], request_id="r" * 200)
    player.call("an endless request id", CREATE, endless)
    nul = job_spec("tabular_mlp", flats, "fine", display_name="a\0b")
    player.call("a name with NUL", CREATE, pb.CreateJobRequest(spec=nul, validate_only=True))
    spec = job_spec("tabular_mlp", flats, "fine")
    spec.hyperparameters.CopyFrom(Struct())
    spec.hyperparameters["epochs"] = None
    player.call("a hyperparameter of nothing", CREATE, pb.CreateJobRequest(spec=spec, validate_only=True))
    for job in ("nobody", "", "a\0b"):
        for verb in ("GetJob", "PauseJob", "ResumeJob", "CancelJob", "DeleteJob"):
            player.call(f"{verb} {job!r}", f"{TUNING}/{verb}", getattr(pb, f"{verb}Request")(id=job))
        player.call(f"checkpoints of {job!r}", f"{TUNING}/ListCheckpoints", pb.ListCheckpointsRequest(job_id=job))
        player.watch(f"watch {job!r}", f"{TUNING}/WatchJob", pb.WatchJobRequest(id=job))
    player.watch("watch after -1", f"{TUNING}/WatchJob", pb.WatchJobRequest(id="nobody", after=-1))


def _moves(player: Player, data: dict[str, str]) -> None:
    def move(verb: str, job: str, what: str) -> None:
        request = getattr(pb, f"{verb}Job" + "Request")(id=job)
        player.call(f"{verb.lower()} one {what}", f"{TUNING}/{verb}Job", request)

    def every(what: str, job: str) -> None:
        for verb in ("Pause", "Resume", "Delete"):
            move(verb, job, what)

    first = create(player, "one", job_spec("tabular_mlp", data["flats"], "moved", **ENDLESS))
    second = create(player, "two", job_spec("tabular_mlp", data["flats"], "moved", **ENDLESS))
    until_step(player, first, MIDWAY)
    for verb in ("Resume", "Delete"):
        move(verb, first, "that runs")
        move(verb, second, "that waits")
    move("Pause", second, "that waits")
    every("that rests before it ran", second)
    move("Pause", second, "that waits again")
    move("Cancel", second, "that rests")
    every("that was cancelled", second)
    move("Cancel", second, "that is gone")
    # Resuming a job that runs queues it once more, and it goes on from its checkpoint.
    until_state(player, first, pb.JOB_STATE_RUNNING)
    move("Pause", first, "that runs")
    until_state(player, first, pb.JOB_STATE_PAUSED)
    move("Pause", first, "that rests")
    move("Delete", first, "that rests")
    move("Resume", first, "that rests")
    until_state(player, first, pb.JOB_STATE_RUNNING)
    move("Cancel", first, "that runs")
    until_state(player, first, pb.JOB_STATE_CANCELLED)
    states = lambda reply: reply.event.WhichOneof("kind") == "state"  # noqa: E731
    player.watch("its states", f"{TUNING}/WatchJob", pb.WatchJobRequest(id=first), keep=states)
    move("Cancel", first, "that was cancelled")
    every("that ended", first)
    move("Get", first, "that is gone")
    # Whatever interrupts a job, its result is the same as without.
    spec = job_spec("tabular_mlp", data["flats"], "rested", epochs=30, patience=0, checkpoint_steps=10, batch_size=16)
    rested = create(player, "rested", spec)
    until_step(player, rested, 10)
    player.ask(f"{TUNING}/PauseJob", pb.PauseJobRequest(id=rested))
    until_state(player, rested, pb.JOB_STATE_PAUSED, pb.JOB_STATE_SUCCEEDED)
    player.ask(f"{TUNING}/ResumeJob", pb.ResumeJobRequest(id=rested))
    player.watch("a job that rested", f"{TUNING}/WatchJob", pb.WatchJobRequest(id=rested), keep=states)
    player.call("a job that rested, in the end", f"{TUNING}/GetJob", pb.GetJobRequest(id=rested))


def _owners(player: Player, data: dict[str, str]) -> None:
    ann, bob = (("zoo-owner", "ann"),), (("zoo-owner", "bob"),)
    spec = job_spec("tabular_mlp", data["flats"], "owned", **ENDLESS)
    other = job_spec("tabular_mlp", data["flats"], "others", **ENDLESS)
    one = create(player, "of ann", spec, request_id="once", metadata=ann)
    until_state(player, one, pb.JOB_STATE_RUNNING)
    create(player, "of ann again", spec, request_id="once", metadata=ann)
    player.call("another job of that id", CREATE, pb.CreateJobRequest(spec=other, request_id="once"), metadata=ann)
    two = create(player, "of ann, too", spec, metadata=ann)
    player.call("one too many", CREATE, pb.CreateJobRequest(spec=spec), metadata=ann)
    player.call("an owner that is none", CREATE, pb.CreateJobRequest(spec=spec), metadata=(("zoo-owner", "-x-"),))
    judged = pb.CreateJobRequest(spec=spec, validate_only=True)
    player.call("judged for an owner", CREATE, judged, metadata=bob)
    three = create(player, "of bob", spec, request_id="once", metadata=bob)
    until_step(player, one, 20)
    for what, fields in {"ann": {"owner": "ann"}, "nobody": {"owner": "nobody"}, "running": {"state": 2}}.items():
        listed = pb.ListJobsRequest(**fields)
        reply = player.ask(f"{TUNING}/ListJobs", listed)
        player.fact(f"jobs of {what}", [(job.id, pb.JobState.Name(job.state), job.owner) for job in reply.jobs])
    for job in (three, two, one):
        player.ask(f"{TUNING}/CancelJob", pb.CancelJobRequest(id=job))
        until_state(player, job, pb.JOB_STATE_CANCELLED)
        player.call("cancelled", f"{TUNING}/GetJob", pb.GetJobRequest(id=job))


def _data_in_use(player: Player) -> None:
    rows = dataset_id(player, "rows that are left out")
    job = create(player, "without data", job_spec("tabular_mlp", rows, "orphan", **ENDLESS))
    until_step(player, job, 20)
    player.call("delete data in use", f"{TUNING}/DeleteDataset", pb.DeleteDatasetRequest(id=rows))
    player.call("delete them by force", f"{TUNING}/DeleteDataset", pb.DeleteDatasetRequest(id=rows, force=True))
    until_state(player, job, pb.JOB_STATE_FAILED)
    player.call("a job without its data", f"{TUNING}/GetJob", pb.GetJobRequest(id=job))
    player.call("data that are gone", f"{TUNING}/GetDataset", pb.GetDatasetRequest(id=rows))
    player.call(
        "a job for data that are gone", CREATE, pb.CreateJobRequest(spec=job_spec("tabular_mlp", rows, "orphan"))
    )


def _lists(player: Player) -> None:
    for what, fields in {
        "failed": {"state": pb.JOB_STATE_FAILED},
        "of a state that is none": {"state": 99},
        "for a model": {"model": "rents"},
        "for no model": {"model": "nobody"},
        "a bad token": {"page_token": "nonsense"},
        "a negative page": {"page_size": -1},
    }.items():
        player.call(what, f"{TUNING}/ListJobs", pb.ListJobsRequest(**fields))
    page = player.call("a page", f"{TUNING}/ListJobs", pb.ListJobsRequest(page_size=2))
    following = pb.ListJobsRequest(page_size=2, page_token=page.next_page_token)
    player.call("the next page", f"{TUNING}/ListJobs", following)
    other = pb.ListJobsRequest(page_size=2, page_token=page.next_page_token, model="rents")
    player.call("a token of other filters", f"{TUNING}/ListJobs", other)
