"""What is left behind: jobs and data that are deleted, metrics, log lines, files, the database's schema."""

from __future__ import annotations

import re
import urllib.error
from contextlib import closing

from service.pb import fine_tuning_pb2 as pb
from tests.recorded.corpus.datasets import dataset_id
from tests.recorded.corpus.messages import TUNING
from tests.recorded.metrics import Scrape
from tests.recorded.normal import words
from tests.recorded.player import TRAINED, Player, all_methods

NUMBERS = re.compile(r"\d+(?:\.\d+)?")


def play(player: Player) -> None:
    with player.group("things that are deleted", floats=TRAINED, metrics=False):
        jobs = player.ask(f"{TUNING}/ListJobs", pb.ListJobsRequest(model="kinds")).jobs
        for job in jobs:
            player.call("delete a job", f"{TUNING}/DeleteJob", pb.DeleteJobRequest(id=job.id))
            player.call("a job that is gone", f"{TUNING}/GetJob", pb.GetJobRequest(id=job.id))
        poem = dataset_id(player, "poem")
        player.call("delete data", f"{TUNING}/DeleteDataset", pb.DeleteDatasetRequest(id=poem))
        player.call("data that are gone", f"{TUNING}/GetDataset", pb.GetDatasetRequest(id=poem))
    scrape = Scrape(player.server.get("/metrics"))
    for name, kind in sorted(scrape.types.items()):
        if not name.endswith("_created"):
            player.fact(f"metric {name}", {"type": kind, "labels": sorted(scrape.labels[name])})
    player.fact("pages", {path: _status(player, path) for path in ("/healthz", "/metrics", "/", "/nothing")})
    player.fact("methods that were not called", sorted(all_methods() - player.called))
    player.fact("exit code", player.server.stop())
    _log(player)
    _files(player)
    with closing(player.database()) as database:
        schema = [
            row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name")
        ]
        for line in schema:
            player.fact(f"schema: {line.split('(')[0].strip()}", line)
        player.fact("schema version", [list(row) for row in database.execute("SELECT * FROM alembic_version")])


def _status(player: Player, path: str) -> str:
    try:
        text = player.server.get(path)
    except urllib.error.HTTPError as error:
        return str(error.code)
    return "200, empty" if not text else "200"


def _log(player: Player) -> None:
    """Kinds of log lines: the names of their fields, and their event as words."""
    kinds = {
        (str(event.get("level")), NUMBERS.sub("N", str(event.get("event"))), tuple(sorted(event)))
        for event in player.server.events
    }
    for level, event, fields in sorted(kinds):
        player.records.append(
            {
                "kind": "log",
                "name": "log line",
                "level": level,
                "event": words(player.named(event)),
                "fields": list(fields),
            }
        )


def _files(player: Player) -> None:
    """Names of the home's files. Those that differ in a number or a random part alone are one."""
    home = player.server.home
    names = (player.named(str(path.relative_to(home))) for path in home.rglob("*") if not path.is_dir())
    # Links to weights, and what a worker that was ended midway had begun to write.
    kept = (name for name in names if not name.startswith("weights/") and "/.staging-" not in name)
    plain = (re.sub(r"tfevents\.[\w.-]+", "tfevents.<run>", name) for name in kept)
    numbers = re.compile(r"(?<=/)(?:step-)?\d+(?=[./-]|$)|(?<=-)\d+(?=\.)")
    player.fact("files", dict.fromkeys(sorted({numbers.sub("N", name) for name in plain}), "file"))
