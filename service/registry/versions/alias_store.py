"""The names of versions in the database: tables `aliases`, `alias_moves` and `traffic`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import Connection, Row, Select, Table, delete, exc, func, insert, select, update

from service.database.engine import Database
from service.database.tables import alias_moves, aliases, traffic
from service.registry.versions.alias_book import (
    NEVER,
    OutdatedError,
    RevisionedAliases,
    nothing,
)
from service.registry.versions.aliases import (
    CANARY,
    Move,
    Names,
    replayed,
)

NO_VERSION = 0
"""What an alias names whose row is damaged: no version has this number, so it leads nowhere, and can be set anew or deleted."""
DAMAGED = -1
"""Revision of names whose row has lost it; the next change gives them one again."""


class AliasStore:
    """An AliasBook that survives the process. Raises DatabaseUnavailable as the database does."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def revisions(self) -> Mapping[str, int]:
        """That of every model."""
        query = select(traffic.c.model, traffic.c.revision)
        return await self._database.read(
            lambda connection: {row.model: _revision(row.revision) for row in connection.execute(query)}
        )

    async def read(self, models: Collection[str] | None = None) -> Mapping[str, RevisionedAliases]:
        """The names of these models, or of all."""
        return await self._database.read(lambda connection: _read(connection, models))

    async def write(
        self, model: str, names: Names, moves: Sequence[Move], revision: int, meanwhile: Callable[[], None] = nothing
    ) -> int:
        """Keeps a model's names in place of those of `revision`, and the moves, in one transaction."""
        now = self._clock()

        def change(connection: Connection) -> None:
            # First of all: from here to the end of the transaction nobody else gets past this line with the same model.
            _take(connection, model, revision, canary_share=names.canary_share, updated=now)
            connection.execute(delete(aliases).where(aliases.c.model == model))
            for alias, version in names.aliases.items():
                connection.execute(insert(aliases).values(model=model, alias=alias, version=version, updated=now))
            for move in moves:
                connection.execute(
                    insert(alias_moves).values(
                        model=model,
                        alias=move.alias,
                        from_version=move.old,
                        to_version=move.new,
                        reason=move.reason,
                        time=now,
                    )
                )
            meanwhile()

        await self._database.write(change)
        return max(revision, NEVER) + 1


def _take(connection: Connection, model: str, revision: int, **values: float) -> None:
    """Compare and set: the model's row goes from `revision` to the next. Raises OutdatedError where it is at another."""
    if revision != NEVER:
        at = traffic.c.revision == revision
        if revision == DAMAGED:
            at = traffic.c.revision < NEVER
            if connection.dialect.name == "sqlite":  # which keeps whatever it is given
                at |= func.typeof(traffic.c.revision) != "integer"
        held = update(traffic).where(traffic.c.model == model, at)
        if connection.execute(held.values(revision=max(revision, NEVER) + 1, **values)).rowcount != 1:
            raise OutdatedError
        return
    try:
        connection.execute(insert(traffic).values(model=model, revision=NEVER + 1, **values))
    except exc.IntegrityError:
        raise OutdatedError from None


def _read(connection: Connection, models: Collection[str] | None) -> Mapping[str, RevisionedAliases]:
    named: dict[str, dict[str, int]] = {}
    for row in _rows(connection, aliases, models):
        named.setdefault(row.model, {})[str(row.alias)] = _version(row.version) or NO_VERSION
    moves: dict[str, list[Move]] = {}
    for row in _rows(connection, alias_moves, models):
        move = Move(str(row.alias), _version(row.from_version), _version(row.to_version), str(row.reason))
        moves.setdefault(row.model, []).append(move)
    kept: dict[str, RevisionedAliases] = {}
    for row in _rows(connection, traffic, models):
        moved = moves.get(row.model, [])
        names = Names(named.get(row.model, {}), _share(row.canary_share), _stopped(moved), replayed(moved))
        kept[row.model] = RevisionedAliases(names, _revision(row.revision))
    return kept


def _version(value: object) -> int | None:
    """The number of a version; None where the column holds none, or something else."""
    return value if isinstance(value, int) and value > 0 else None


def _share(value: object) -> float:
    """Where it cannot be read, the canary gets no calls."""
    return float(value) if isinstance(value, int | float) and 0.0 <= value <= 1.0 else 0.0


def _revision(value: object) -> int:
    return value if isinstance(value, int) and value >= NEVER else DAMAGED


def _rows(connection: Connection, table: Table, models: Collection[str] | None) -> Sequence[Row[tuple[object, ...]]]:
    """A table's rows of these models, or of all, in order."""
    query: Select[tuple[object, ...]] = select(table).order_by(*table.primary_key)
    return connection.execute(query if models is None else query.where(table.c.model.in_(models))).all()


def _stopped(moves: Sequence[Move]) -> str:
    """Why the last canary lost its share: the reason of its last move, where it stayed where it was."""
    last = next((move for move in reversed(moves) if move.alias == CANARY), None)
    return last.reason if last is not None and last.old == last.new else ""
