"""Moves damaged items aside: files by rename, rows into a JSON file before they are deleted from the database."""

from __future__ import annotations

import errno
import re
import shutil
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, create_engine, delete, select, update

from model_zoo import strict_json
from service.database import Database, database_url
from service.database.engine import decode_text
from service.database.tables import aliases, checkpoints, events, jobs
from service.doctor.findings import Finding
from service.jobs.job_folder import job_folder
from service.jobs.persistence.row_mapping import event_columns
from service.jobs.types import Log

JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""An id that may be the name of a folder: a damaged row may hold a path."""
QUARANTINE = "quarantine"
LIST = "findings.json"
REPLACED_EVENT = "this event was damaged; `zoo doctor` has put it into quarantine"
"""Text of the log event in the place of an event in quarantine: numbers of events have no gaps."""


def move_to_quarantine(home: Path, database: str, findings: Sequence[Finding]) -> tuple[Path, list[Finding]]:
    """Moves what can be moved, and gives the new folder and the moved findings. Raises OSError, for example for a full disk."""
    folder = _new_folder(home)
    moved: list[Finding] = []
    documents: list[dict[str, Any]] = []
    rows = [finding for finding in findings if finding.rows]
    saved = _save_rows(home, database, folder, rows) if rows else {}
    for finding in findings:
        where = ""
        if finding.rows:
            where = saved.get(finding, "")
            if (
                finding.kind == "job"
                and JOB_ID.fullmatch(finding.name)
                and (place := job_folder(home, finding.name)).exists()
            ):
                _move(place, folder / "jobs" / place.name)
        elif (
            finding.path is not None and finding.kind not in ("home", "database") and finding.path.is_relative_to(home)
        ):
            target = folder / finding.path.relative_to(home)
            where = str(target.relative_to(folder)) if _move(finding.path, target) else ""
        if where:
            moved.append(finding)
            documents.append(finding.as_dict() | {"moved_to": where})
    if moved:
        (folder / LIST).write_text(strict_json.text(documents, indent=1), encoding="utf-8")
    else:
        shutil.rmtree(folder)
    return folder, moved


def _new_folder(home: Path) -> Path:
    """A folder named after the current second, with a number if that name is taken."""
    (home / QUARANTINE).mkdir(exist_ok=True)
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    for number in range(1000):
        folder = home / QUARANTINE / (f"{name}-{number}" if number else name)
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(errno.EEXIST, "no name is free", str(home / QUARANTINE))


def _move(path: Path, target: Path) -> bool:
    """Renames a path within the home. False if it is gone already, for example a checkpoint of a job folder that was moved."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.rename(target)
    except FileNotFoundError:
        return False
    return True


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _save_rows(home: Path, database: str, folder: Path, findings: Sequence[Finding]) -> dict[Finding, str]:
    """Writes the rows of the findings into files below `folder/rows/`, and then deletes them from the database."""
    url = database_url(database, home)
    if url.get_backend_name() == "sqlite":
        path = str(url.database)

        def connect() -> sqlite3.Connection:
            connection = sqlite3.connect(path, timeout=10)
            connection.text_factory = decode_text
            connection.execute("PRAGMA foreign_keys = ON")
            return connection

        engine = create_engine("sqlite://", creator=connect)
    else:
        engine = Database(url).engine
    saved: dict[Finding, str] = {}
    (folder / "rows").mkdir()
    try:
        for finding in findings:
            with engine.begin() as connection:
                name = (
                    f"rows/{finding.kind}-{len(saved) + 1:04}-{re.sub(r'[^A-Za-z0-9_-]+', '-', finding.name)[:60]}.json"
                )
                document = _rows_of(connection, finding)
                if document:
                    (folder / name).write_text(strict_json.text(document, indent=1), encoding="utf-8")
                    _delete_rows(connection, finding)
                    saved[finding] = name
    finally:
        engine.dispose()
    return saved


def _rows_of(connection: Connection, finding: Finding) -> dict[str, Any]:
    """All rows of a finding, by table."""
    match finding.kind:
        case "job":
            conditions = {
                jobs: jobs.c.id == finding.rows[0],
                events: events.c.job_id == finding.rows[0],
                checkpoints: checkpoints.c.job_id == finding.rows[0],
            }
        case "event":
            conditions = {events: (events.c.job_id == finding.rows[0]) & (events.c.sequence == finding.rows[1])}
        case "checkpoint":
            conditions = {
                checkpoints: (checkpoints.c.job_id == finding.rows[0]) & (checkpoints.c.step == finding.rows[1])
            }
        case _:
            conditions = {aliases: (aliases.c.model == finding.rows[0]) & (aliases.c.alias == finding.rows[1])}
    found = {table.name: _json_rows(connection, table, condition) for table, condition in conditions.items()}
    return found if any(found.values()) else {}


def _delete_rows(connection: Connection, finding: Finding) -> None:
    match finding.kind:
        case "job":
            connection.execute(
                delete(jobs).where(jobs.c.id == finding.rows[0])
            )  # its events and checkpoints go with it
        case "event":
            condition = (events.c.job_id == finding.rows[0]) & (events.c.sequence == finding.rows[1])
            connection.execute(
                update(events).where(condition).values(event_columns(Log(level="error", text=REPLACED_EVENT)))
            )
        case "checkpoint":
            condition = (checkpoints.c.job_id == finding.rows[0]) & (checkpoints.c.step == finding.rows[1])
            connection.execute(delete(checkpoints).where(condition))
        case _:
            condition = (aliases.c.model == finding.rows[0]) & (aliases.c.alias == finding.rows[1])
            connection.execute(delete(aliases).where(condition))


def _json_rows(connection: Connection, table: Table, condition: Any) -> list[dict[str, Any]]:
    """Rows as JSON values: bytes in hexadecimal, numbers that are not finite as null."""
    rows = connection.execute(select(table).where(condition)).mappings()
    return [{name: _json_cell(value) for name, value in row.items()} for row in rows]


def _json_cell(value: object) -> object:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return strict_json.with_nulls(value)
