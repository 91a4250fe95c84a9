"""The names of versions in the database: tables `aliases`, `alias_moves` and `traffic`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select

from service.database.engine import Database
from service.database.tables import alias_moves, aliases, traffic
from service.registry.names import CANARY, Move, Names, replayed


class AliasStore:
    """An AliasBook that survives the process. Raises DatabaseUnavailable as the database does."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def read(self) -> Mapping[str, Names]:
        """The names of every model."""
        return await self._database.read(_read)

    async def write(self, model: str, names: Names, moves: Sequence[Move]) -> None:
        """Keeps a model's names in place of what was there, and the moves, in one transaction."""
        now = self._clock()

        def change(connection: Connection) -> None:
            connection.execute(delete(aliases).where(aliases.c.model == model))
            connection.execute(delete(traffic).where(traffic.c.model == model))
            for alias, version in names.aliases.items():
                connection.execute(insert(aliases).values(model=model, alias=alias, version=version, updated=now))
            connection.execute(insert(traffic).values(model=model, canary_share=names.canary_share, updated=now))
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

        await self._database.write(change)

    async def forget(self, model: str) -> None:
        """A model's last version was deleted: nothing of it is kept, so that one of the same name starts afresh."""

        def change(connection: Connection) -> None:
            for table in (aliases, traffic, alias_moves):
                connection.execute(delete(table).where(table.c.model == model))

        await self._database.write(change)


def _read(connection: Connection) -> Mapping[str, Names]:
    named: dict[str, dict[str, int]] = {}
    for row in connection.execute(select(aliases)):
        named.setdefault(row.model, {})[row.alias] = row.version
    shares = {row.model: row.canary_share for row in connection.execute(select(traffic))}
    moves: dict[str, list[Move]] = {}
    for row in connection.execute(select(alias_moves).order_by(alias_moves.c.number)):
        moves.setdefault(row.model, []).append(Move(row.alias, row.from_version, row.to_version, row.reason))
    return {
        model: Names(
            named.get(model, {}), shares.get(model, 0.0), _stopped(moves.get(model, [])), replayed(moves.get(model, []))
        )
        for model in {*named, *shares}
    }


def _stopped(moves: Sequence[Move]) -> str:
    """Why the last canary lost its share: the reason of its last move, where it stayed where it was."""
    last = next((move for move in reversed(moves) if move.alias == CANARY), None)
    return last.reason if last is not None and last.old == last.new else ""
