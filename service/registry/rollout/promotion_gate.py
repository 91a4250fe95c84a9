"""A new version passes the gate before it becomes stable.

publish ──► add (learn, load, warm up) ──► gate ──► stable
                                            └── reachable by its number
"""

from __future__ import annotations

from service.errors import IllegalMove, NotFound, NotReady, ZooError
from service.registry.loading.load_manager import LoadManager
from service.registry.model_table import ModelTable
from service.registry.model_version import ModelVersion
from service.registry.rollout.promotion_rule import decide
from service.registry.versions.alias_manager import AliasManager, AliasMovedError
from service.registry.versions.aliases import STABLE
from service.registry.versions.discovery import Discovery
from service.registry.versions.replica_sync import ReplicaSync
from service.registry.versions.version_reports import VersionReports


class PromotionGate:
    """Takes published versions into service. All methods belong to the event loop."""

    def __init__(
        self,
        table: ModelTable,
        loads: LoadManager,
        discovery: Discovery,
        sync: ReplicaSync,
        aliases: AliasManager,
        reports: VersionReports,
    ) -> None:
        self._table = table
        self._loads = loads
        self._discovery = discovery
        self._sync = sync
        self._aliases = aliases
        self._reports = reports

    async def add(self, name: str, number: int) -> ModelVersion:
        """Learns, loads and warms up a version that was published.

        Raises NotFound; IllegalMove for a name of the zoo; NotReady or MemoryFull where it cannot be loaded; it is known then.
        """
        version = await self._discovery.learn(name, number)
        await self._loads.load_version(version)
        return version

    async def take(self, name: str, number: int, *, gated: bool = True) -> str:
        """Adds a version and makes it stable if it is good enough. Returns the outcome in one sentence; never raises for a fault
        of the version."""
        try:
            await self.add(name, number)
        except (NotReady, ZooError) as error:
            return f"version {number} was published, but it does not serve: {error.message}"
        if not gated:
            return f"version {number} serves by its number; promotion was not asked for"
        try:
            report = (await self._reports.report(name, str(number))).report
        except ZooError as error:
            return f"version {number} serves by its number; {error.message}"
        await self._sync.look_now()
        while True:
            record = self._table.tuned(name)
            stable = record.stored.aliases.stable
            decision = decide(report, stable)
            if not decision.promote:
                return f"version {number} serves by its number and is not stable: {decision.sentence}"
            try:
                await self._aliases.point(record, STABLE, number, "promoted by the gate", instead_of=stable)
            except AliasMovedError:  # another version became stable, here or elsewhere: compare with that one
                continue
            except (NotFound, NotReady, IllegalMove) as error:  # deleted meanwhile, or it does not load any more
                return f"version {number} was published and is not stable: {error.message}"
            return f"version {number} is stable: {decision.sentence}"
