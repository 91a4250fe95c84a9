"""`zoo jobs`: the fine-tune jobs of the server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.connection import connect
from service.cli.options import DEFAULT_SERVER, Json, Server, has_subcommand
from service.cli.rendering.console import escaped, new_table, print_json, print_line, print_note, print_table
from service.cli.rendering.formatting import format_age, format_duration, format_size, format_value, jsonable

if TYPE_CHECKING:
    from service.client import Checkpoint, Client, Job

app = typer.Typer(
    help="List, show, watch, pause, resume, cancel and delete fine-tune jobs.", invoke_without_command=True
)

Id = Annotated[str, typer.Argument(metavar="ID", help="Id of a job, or the beginning of its id.")]


@app.callback()
def jobs(
    ctx: typer.Context,
    state: Annotated[
        str, typer.Option(metavar="STATE", help="List only jobs in this state, for example running.")
    ] = "",
    model: Annotated[str, typer.Option(metavar="MODEL", help="List only jobs for this model.")] = "",
    owner: Annotated[str, typer.Option(metavar="NAME", help="List only jobs of this owner.")] = "",
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """List the jobs of the server, the newest first."""
    if has_subcommand(ctx):
        return
    with connect(server) as client:
        listed = list(client.jobs(state=state, model=model, owner=owner))
    if as_json:
        print_json({"server": server, "jobs": jsonable(listed)})
        return
    if not listed:
        print_note("the server has no such jobs" if state or model or owner else "the server has no jobs")
        return
    owners = any(job.owner for job in listed)  # no column if no caller gives a name
    head = ("id", *(["owner"] if owners else []), "model", "base", "method", "state", "done", "created", "")
    rows = new_table(*head, right=("done",))
    for job in listed:
        cells = (job.id, *([job.owner] if owners else []), job.model, job.base, job.method, job.state)
        done = "" if job.has_ended else f"{job.progress.ratio:.0%}"
        rows.add_row(*map(escaped, cells), done, format_age(job.created), escaped(_outcome(job)))
    print_table(rows)


@app.command("show")
def show(job: Id, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show everything about a job."""
    with connect(server) as client:
        found = find_job(client, job)
        checkpoints = client.checkpoints(found.id)
    if as_json:
        print_json({"server": server, "job": jsonable(found), "checkpoints": jsonable(checkpoints)})
    else:
        _print_job(found, checkpoints)


@app.command("watch")
def watch(
    job: Id,
    after: Annotated[int, typer.Option(metavar="N", min=0, help="Show only events with a greater number.")] = 0,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Show the events of a job until it has ended. Exit code 1 if it failed; Ctrl-C leaves it running."""
    from service.cli.rendering.job_outcome import print_outcome
    from service.cli.rendering.job_progress import follow_job

    with connect(server) as client:
        ended = follow_job(client, find_job(client, job), server=server, as_json=as_json, after=after)
        print_outcome(client, ended, server=server, as_json=as_json)


@app.command("cancel")
def cancel(job: Id, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Cancel a job; it ends within a step."""
    with connect(server) as client:
        _print_moved(client.cancel_job(find_job(client, job).id), server, as_json, "; it ends within a step")


@app.command("pause")
def pause(job: Id, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Pause a job after its next checkpoint; the next queued job starts."""
    with connect(server) as client:
        _print_moved(
            client.pause_job(find_job(client, job).id), server, as_json, "; it pauses after its next checkpoint"
        )


@app.command("resume")
def resume(job: Id, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Queue a paused job again, or a failed job that has a checkpoint."""
    with connect(server) as client:
        _print_moved(client.resume_job(find_job(client, job).id), server, as_json)


@app.command("delete")
def delete(job: Id, server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Delete a job that has ended, with its log and TensorBoard files. Its version of the model stays."""
    with connect(server) as client:
        found = find_job(client, job)
        freed = client.delete_job(found.id)
    if as_json:
        print_json({"server": server, "deleted": found.id, "freed_bytes": freed})
    else:
        print_line(f"deleted job {found.id}, {format_size(freed)} freed")


def find_job(client: Client, text: str) -> Job:
    """The job with this id, or the only one whose id begins with it. Raises NotFound, BadInput."""
    from service.client import BadInput, NotFound

    try:
        return client.job(text)
    except NotFound:
        matches = [job for job in client.jobs() if job.id.startswith(text)]
        if not matches:
            raise
    if len(matches) > 1:
        raise BadInput(f"{text!r} matches {len(matches)} jobs: {', '.join(job.id for job in matches[:5])}")
    return matches[0]


def _print_moved(job: Job, server: str, as_json: bool, next_step: str = "") -> None:
    """Prints the new state of a job. `next_step`: what follows while a worker runs the job."""
    if as_json:
        print_json({"server": server, "job": jsonable(job)})
    else:
        detail = (
            next_step if job.state in ("RUNNING", "CANCELLING") else f": {job.state_reason}" if job.state_reason else ""
        )
        print_line(f"job {job.id} is {job.state}{detail}")


def _outcome(job: Job) -> str:
    if job.damaged:
        return f"damaged: {job.damaged}"
    if job.version:
        return f"version {job.version}"
    return job.state_reason


def _print_job(job: Job, checkpoints: tuple[Checkpoint, ...]) -> None:
    rows = new_table("", "")
    rows.show_header = False
    took = (job.ended - job.started).total_seconds() if job.ended and job.started else None
    best = next((checkpoint for checkpoint in checkpoints if checkpoint.best), None)
    facts = {
        "job": job.id,
        "name": job.display_name,
        "state": f"{job.state}: {job.state_reason}" if job.state_reason else job.state,
        "damaged": f"{job.damaged}; `zoo jobs delete {job.id}` removes the job" if job.damaged else "",
        "base": job.base,
        "model": f"{job.model}, version {job.version}" if job.version else job.model,
        "promotion": job.promotion_outcome or job.promotion,
        "dataset": job.dataset_id,
        "task": job.task,
        "method": job.method,
        "chosen by hand": ", ".join(f"{name}={value}" for name, value in job.hyperparameters.items()),
        "seed": str(job.seed),
        "priority": str(job.priority),
        "done": "" if job.has_ended or not job.progress.phase else f"{job.progress.ratio:.0%}, {job.progress.phase}",
        "metrics": ", ".join(f"{name} {format_value(value)}" for name, value in sorted(job.metrics.items())),
        "checkpoints": _checkpoints(checkpoints, best),
        "created": format_age(job.created),
        "took": "" if took is None else format_duration(took),
        "workers started": str(job.attempts) if job.attempts > 1 else "",
        "owner": job.owner,
    }
    for fact, text in facts.items():
        if text:
            rows.add_row(fact, escaped(text))
    print_table(rows)


def _checkpoints(checkpoints: tuple[Checkpoint, ...], best: Checkpoint | None) -> str:
    if not checkpoints:
        return ""
    size = format_size(sum(checkpoint.size_bytes for checkpoint in checkpoints))
    steps = ", ".join(f"{c.step} (damaged: {c.damaged})" if c.damaged else str(c.step) for c in checkpoints)
    return f"at step {steps} ({size})" + (f"; the best is {best.step}" if best else "")
