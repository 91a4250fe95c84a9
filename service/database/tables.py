"""Every table as the latest migration leaves it; a test compares the two.

Times are seconds since 1970 in UTC, as floating point: SQLite stores no time zones. JSON is stored as text and not queried.
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
    Column("asked", Text, nullable=False),  # the JobSpec of the request, to detect a repeated request
    Column("spec", Text, nullable=False),  # the JobSpec with task and method as chosen
    Column("model", String(63), nullable=False),
    Column("base", String(63), nullable=False),
    Column("dataset_id", String(128), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("device", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column(
        "pause_wanted", Boolean, nullable=False
    ),  # a user has asked to pause a RUNNING job; its worker has not ended yet
    Column("progress", Text),
    Column("metrics", Text, nullable=False),
    Column("version", Integer),
    Column("promotion_outcome", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("not_before", Double, nullable=False),  # a job whose worker died waits for its retry delay
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),  # workers that died in a row, without a new checkpoint between them
    Column("yielding", Boolean, nullable=False),
    Column("last_event", Integer, nullable=False),
    Column("lease_owner", String(64), nullable=False),  # the server that works on the job, or ""
    Column("lease_until", Double, nullable=False),  # another server may take the job after this time
    Column("zoo_version", String(32)),  # the newest release that worked on the job; NULL: one that did not say so
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

alias_moves = Table(  # the history that a rollback reads; the latest move has the greatest number
    "alias_moves",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("model", String(63), nullable=False),
    Column("alias", String(63), nullable=False),
    Column("from_version", Integer),  # NULL: there was no version
    Column("to_version", Integer),  # NULL: the alias was deleted
    Column("reason", Text, nullable=False),
    Column("time", Double, nullable=False),
    Index(None, "model", "alias"),
)

traffic = Table(  # one row for each model that ever had aliases; it stays when they are deleted
    "traffic",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("canary_share", Double, nullable=False),  # of the calls that name no version, 0..1
    Column("updated", Double, nullable=False),
    Column(
        "revision", Integer, nullable=False, server_default="1"
    ),  # of all aliases of the model; each change increments it
)

tokens = Table(  # rows are never deleted, and only `revoked` changes: servers notice changes by counting
    "tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("digest", String(64), nullable=False),  # SHA-256 of the whole token, in hexadecimal digits
    Column("principal", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("models", Text, nullable=False),  # patterns; an empty list permits all models
    Column("limits", Text, nullable=False),  # those that differ from the server's defaults
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("creator", String(64), nullable=False),
    Index(None, "created", "id"),
)

version_owners = Table(  # of versions whose jobs were deleted; a job that is there has its own owner
    "version_owners",
    metadata,
    Column("model", String(63), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(128), nullable=False),
)

schema_compatibility = Table(  # one row, which `migrate.py` writes
    "schema_compatibility",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("oldest_compatible", String(32), nullable=False),  # a server that knows this migration can use the tables
)
