"""Aliases in the database: tables `aliases`, `alias_moves` and `traffic`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import Connection, Row, Select, Table, delete, exc, func, insert, select, update

from service.database.engine import Database
from service.database.tables import alias_moves, aliases, traffic
from service.registry.versions.aliases import CANARY, AliasMove, AliasSet, replay_stable
from service.registry.versions.revisioned_aliases import (
    NEVER_WRITTEN,
    RevisionedAliases,
    StaleRevisionError,
    do_nothing,
)

NO_VERSION = 0
"""Target of an alias whose row is damaged: no version has this number. The alias can be set again or deleted."""
DAMAGED = -1
"""Revision of aliases whose row has a damaged one; the next change writes a valid one."""


class AliasStore:
    """An AliasStorage that survives the process. Raises DatabaseUnavailable as the database does."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def revisions(self) -> Mapping[str, int]:
        """The revision of every model."""
        query = select(traffic.c.model, traffic.c.revision)
        return await self._database.read(
            lambda connection: {row.model: _revision(row.revision) for row in connection.execute(query)}
        )

    async def read(self, models: Collection[str] | None = None) -> Mapping[str, RevisionedAliases]:
        """The aliases of these models, or of all."""
        return await self._database.read(lambda connection: _read(connection, models))

    async def write(
        self,
        model: str,
        alias_set: AliasSet,
        moves: Sequence[AliasMove],
        revision: int,
        while_locked: Callable[[], None] = do_nothing,
    ) -> int:
        """Replaces a model's aliases of `revision` and adds the moves, in one transaction."""
        now = self._clock()

        def change(connection: Connection) -> None:
            # First: from here to the end of the transaction no other writer of the same model gets past this line.
            _take_revision(connection, model, revision, canary_share=alias_set.canary_share, updated=now)
            connection.execute(delete(aliases).where(aliases.c.model == model))
            for alias, version in alias_set.targets.items():
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
            while_locked()

        await self._database.write(change)
        return max(revision, NEVER_WRITTEN) + 1


def _take_revision(connection: Connection, model: str, revision: int, **values: float) -> None:
    """Compare and set: the model's row goes from `revision` to the next. Raises StaleRevisionError where it is at another."""
    if revision != NEVER_WRITTEN:
        at = traffic.c.revision == revision
        if revision == DAMAGED:
            at = traffic.c.revision < NEVER_WRITTEN
            if connection.dialect.name == "sqlite":  # which keeps whatever it is given
                at |= func.typeof(traffic.c.revision) != "integer"
        held = update(traffic).where(traffic.c.model == model, at)
        if connection.execute(held.values(revision=max(revision, NEVER_WRITTEN) + 1, **values)).rowcount != 1:
            raise StaleRevisionError
        return
    try:
        connection.execute(insert(traffic).values(model=model, revision=NEVER_WRITTEN + 1, **values))
    except exc.IntegrityError:
        raise StaleRevisionError from None


def _read(connection: Connection, models: Collection[str] | None) -> Mapping[str, RevisionedAliases]:
    targets: dict[str, dict[str, int]] = {}
    for row in _rows(connection, aliases, models):
        targets.setdefault(row.model, {})[str(row.alias)] = _version(row.version) or NO_VERSION
    moves: dict[str, list[AliasMove]] = {}
    for row in _rows(connection, alias_moves, models):
        move = AliasMove(str(row.alias), _version(row.from_version), _version(row.to_version), str(row.reason))
        moves.setdefault(row.model, []).append(move)
    stored: dict[str, RevisionedAliases] = {}
    for row in _rows(connection, traffic, models):
        moved = moves.get(row.model, [])
        found = AliasSet(
            targets.get(row.model, {}), _share(row.canary_share), _rolled_back_reason(moved), replay_stable(moved)
        )
        stored[row.model] = RevisionedAliases(found, _revision(row.revision))
    return stored


def _version(value: object) -> int | None:
    """The number of a version; None where the column holds none, or another kind of value."""
    return value if isinstance(value, int) and value > 0 else None


def _share(value: object) -> float:
    """The canary's share; 0 where it cannot be read."""
    return float(value) if isinstance(value, int | float) and 0.0 <= value <= 1.0 else 0.0


def _revision(value: object) -> int:
    return value if isinstance(value, int) and value >= NEVER_WRITTEN else DAMAGED


def _rows(connection: Connection, table: Table, models: Collection[str] | None) -> Sequence[Row[tuple[object, ...]]]:
    """A table's rows of these models, or of all, in order."""
    query: Select[tuple[object, ...]] = select(table).order_by(*table.primary_key)
    return connection.execute(query if models is None else query.where(table.c.model.in_(models))).all()


def _rolled_back_reason(moves: Sequence[AliasMove]) -> str:
    """Why the last canary lost its share: the reason of its last move, where it stayed where it was."""
    last = next((move for move in reversed(moves) if move.alias == CANARY), None)
    return last.reason if last is not None and last.old == last.new else ""
