"""The changes of aliases that users make: point, remove, roll back, split traffic.

A version is loaded before an alias moves to it. Every change first looks at what other servers did.
"""

from __future__ import annotations

import re

from service.errors import IllegalMove, InvalidInput, NotFound
from service.registry.loading.load_manager import LoadManager
from service.registry.model_record import ModelRecord
from service.registry.model_table import ModelTable, numbered
from service.registry.versions.alias_writer import AliasWriter
from service.registry.versions.aliases import (
    CANARY,
    STABLE,
    AliasChange,
    AliasMove,
    AliasSet,
    drop_version,
    point_alias,
    remove_alias,
    restrict_to,
    roll_back,
    split_traffic,
)
from service.registry.versions.replica_sync import ReplicaSync

ALIAS_PATTERN = re.compile(r"[a-z][a-z0-9_-]{0,62}")
ANY = -1
"""Instead of the number that an alias must name before a change: whatever it names."""


class AliasMovedError(Exception):
    """An alias names another version than expected."""


class AliasManager:
    """Changes aliases of tuned models. All methods belong to the event loop."""

    def __init__(self, table: ModelTable, loads: LoadManager, writer: AliasWriter, sync: ReplicaSync) -> None:
        self._table = table
        self._loads = loads
        self._writer = writer
        self._sync = sync

    async def set(self, name: str, alias: str, number: int) -> None:
        """Points an alias at a version; `stable` and `canary` load it first. Raises NotFound, InvalidInput, IllegalMove for a
        model of the zoo, NotReady or MemoryFull where it cannot be loaded, and then nothing has changed."""
        if not ALIAS_PATTERN.fullmatch(alias):
            problem = "expected lower-case letters, digits, '-' and '_', with a letter first, at most 63"
            raise InvalidInput("alias", f"{problem}, got {alias[:64]!r}")
        await self._sync.look_now()
        record = self._table.tuned(name)
        await self.point(record, alias, numbered(record, number).number)

    async def point(
        self, record: ModelRecord, alias: str, number: int, reason: str = "", *, instead_of: int | None = ANY
    ) -> None:
        """Points an alias at a version. Raises AliasMovedError where the alias does not name `instead_of` any more."""
        if alias in (STABLE, CANARY):
            await self._loads.load_version(numbered(record, number))

        def change(aliases: AliasSet) -> AliasChange:
            if instead_of not in (ANY, aliases.targets.get(alias)):
                raise AliasMovedError
            return point_alias(aliases, alias, number, reason)

        await self._writer.change(record, change)

    async def remove(self, name: str, alias: str) -> None:
        """Removes an alias. Raises NotFound; IllegalMove for `stable`, which calls without a version need."""
        await self._sync.look_now()
        record = self._table.tuned(name)

        def change(aliases: AliasSet) -> AliasChange:
            if alias not in aliases.targets:
                raise NotFound("alias", alias[:64], known=f"model {name!r} has {', '.join(sorted(aliases.targets))}")
            return remove_alias(aliases, alias)

        if alias == STABLE:
            raise IllegalMove("'stable' cannot be removed; point it at another version")
        await self._writer.change(record, change)

    async def roll_back(self, name: str) -> int:
        """Makes `stable` name the version that it named before. Returns the number that was stable until now.

        Raises NotFound; IllegalMove where no version was stable before; NotReady or MemoryFull where it cannot be loaded.
        """
        await self._sync.look_now()
        record = self._table.tuned(name)

        def existing(aliases: AliasSet) -> tuple[int, ...]:
            return restrict_to(aliases, record.versions).previous_stable

        left, previous = record.stored.aliases.stable, existing(record.stored.aliases)
        if not previous:
            raise IllegalMove(f"no version of model {name!r} was stable before the one that is")
        await self._loads.load_version(record.versions[previous[-1]])

        def change(aliases: AliasSet) -> AliasChange:
            if aliases.stable != left or existing(aliases) != previous:
                raise IllegalMove(f"the stable version of model {name!r} was changed by somebody else meanwhile")
            moves: list[AliasMove] = []
            for number in {*aliases.previous_stable} - {*previous}:  # whose files were removed by hand
                aliases, dropped = drop_version(aliases, number)
                moves += dropped
            aliases, back = roll_back(aliases)
            return aliases, [*moves, *back]

        await self._writer.change(record, change)
        return left or 0

    async def split_traffic(self, name: str, canary: int, share: float) -> None:
        """Gives a version a share of the calls that name none, and loads it before; a share of 0 ends that.

        Raises NotFound, InvalidInput, IllegalMove, NotReady, MemoryFull.
        """
        await self._sync.look_now()
        record = self._table.tuned(name)
        if not 0.0 <= share <= 1.0:  # false for NaN
            raise InvalidInput("canary_share", f"expected 0..1, got {share:g}")
        if not share:
            if CANARY in record.stored.aliases.targets:
                await self._writer.change(record, lambda a: remove_alias(a, CANARY) if CANARY in a.targets else (a, ()))
            return
        version = numbered(record, canary, "canary")
        if record.stored.aliases.stable is None:
            raise IllegalMove(f"model {name!r} has no stable version to try a canary beside; promote one first")
        if record.stored.aliases.stable == canary:
            raise InvalidInput("canary", f"version {canary} is stable already; expected another one")
        await self._loads.load_version(version)

        def change(aliases: AliasSet) -> AliasChange:
            if aliases.stable in (None, canary):
                raise IllegalMove(f"the stable version of model {name!r} was changed by somebody else meanwhile")
            record.stopped_canary = None  # a new trial begins without the finding of the last one
            return split_traffic(aliases, canary, share)

        await self._writer.change(record, change)
