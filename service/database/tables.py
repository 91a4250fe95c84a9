"""Every table, as the newest migration leaves it; a test compares the two.

Times are seconds since 1970 in UTC, as floating point: SQLite keeps no time zones. JSON is kept as text, and never searched in.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("request_id", String(128)),  # NULL where the caller gave none: NULLs are never equal
    Column("asked", Text, nullable=False),  # the JobSpec as it came, to tell a repeated request from another one
    Column("spec", Text, nullable=False),  # the JobSpec with task and method as chosen
    Column("model", String(63), nullable=False),
    Column("base", String(63), nullable=False),
    Column("dataset_id", String(128), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("device", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("pause_wanted", Boolean, nullable=False),  # somebody asked a RUNNING job to rest; its worker is about to
    Column("progress", Text),
    Column("metrics", Text, nullable=False),
    Column("version", Integer),
    Column("promotion_outcome", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("not_before", Double, nullable=False),  # a job whose worker died waits a little before the next
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),  # workers that died in a row, without a new checkpoint between them
    Column("yielding", Boolean, nullable=False),
    Column("last_event", Integer, nullable=False),
    Column("lease_owner", String(64), nullable=False),  # the server that works on it, or ""
    Column("lease_until", Double, nullable=False),  # from when on another may take it
    UniqueConstraint("owner", "request_id"),
    Index(None, "state", "priority", "created"),
    Index(None, "created", "id"),
    Index(None, "dataset_id"),
)

events = Table(
    "events",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("time", Double, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job_id", ForeignKey(jobs.c.id, ondelete="CASCADE"), primary_key=True),
    Column("step", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("best", Boolean, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("time", Double, nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("alias", String(63), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("updated", Double, nullable=False),
)

alias_moves = Table(  # what a rollback looks back on; the newest has the greatest number
    "alias_moves",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("model", String(63), nullable=False),
    Column("alias", String(63), nullable=False),
    Column("from_version", Integer),  # NULL: there was none
    Column("to_version", Integer),  # NULL: it was deleted
    Column("reason", Text, nullable=False),
    Column("time", Double, nullable=False),
    Index(None, "model", "alias"),
)

traffic = Table(  # one row for each model that ever had names; it stays when they are gone
    "traffic",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("canary_share", Double, nullable=False),  # of the calls that name no version, 0..1
    Column("updated", Double, nullable=False),
    Column(
        "revision", Integer, nullable=False, server_default="1"
    ),  # of all names of the model; it rises at each change
)
