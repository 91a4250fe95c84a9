"""The registry: which models are loaded, in which versions, and which of them answers a call.

    publish ──► add_version (learn, load, warm up) ──► gate ──► stable ──► rollback
                                                        └── reachable by number ──► canary, a share of the calls

A version is loaded before an alias moves to it, and aliases are stored before they take effect here. The version that was stable
before stays loaded, so that a rollback takes no time; a version that no alias names, and that no rollback leads to next, is
unloaded as soon as the alias has moved: calls to it are unlikely, and a call by its number loads it again.

Several servers on one home and one database act as one: every change first looks for changes by the others, and where another
server is faster still, the change is computed again (`versions/revisioned_aliases.py`).

This class only connects the parts, which `composition.py` builds; each part owns its state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from model_zoo.version_folder import Version
from service.engine.served_head import Served, ServedHead
from service.engine.served_model import ServedModel
from service.errors import NotFound
from service.registry.loading.head_loading import HeadLoader
from service.registry.loading.load_manager import LoadManager
from service.registry.loading.memory_ledger import Ledger
from service.registry.loading.network_loading import NetworkLoader
from service.registry.loading.served_heads import HeadServer
from service.registry.model_status import ModelStatus, Traffic, Unloaded, VersionReport, VersionStatus
from service.registry.model_table import ModelTable
from service.registry.option_changes import OptionChanges
from service.registry.rollout.promotion_gate import PromotionGate
from service.registry.states import ModelState
from service.registry.versions.alias_activation import AliasActivation
from service.registry.versions.alias_manager import AliasManager
from service.registry.versions.alias_writer import AliasWriter
from service.registry.versions.deletion import Deletion
from service.registry.versions.discovery import Discovery
from service.registry.versions.replica_sync import ReplicaSync
from service.registry.versions.version_reports import VersionReports
from service.runtime.network import Runtime
from service.verification.head_checks import HeadCheck


class Registry:
    """Models by name, and their versions. All methods belong to the event loop, except where they say otherwise."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        table: ModelTable,
        networks: NetworkLoader,
        heads: HeadLoader,
        head_server: HeadServer,
        loads: LoadManager,
        options: OptionChanges,
        discovery: Discovery,
        activation: AliasActivation,
        writer: AliasWriter,
        deletion: Deletion,
        sync: ReplicaSync,
        aliases: AliasManager,
        reports: VersionReports,
        gate: PromotionGate,
    ) -> None:
        self.ledger = ledger
        self.on_change: list[Callable[[str, ModelState], None]] = table.on_change
        """Called on the loop after a model has entered a state."""
        self.on_ready: list[Callable[[ServedModel], None]] = networks.on_ready
        """Called on the loop after a network has begun to answer."""
        self._table = table
        self._networks = networks
        self._heads = heads
        self._head_server = head_server
        self._loads = loads
        self._options = options
        self._discovery = discovery
        self._activation = activation
        self._writer = writer
        self._deletion = deletion
        self._sync = sync
        self._aliases = aliases
        self._reports = reports
        self._gate = gate

    # ── calls ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def resolve(self, name: str, version: str = "") -> Served:
        """The loaded model that answers a call; see `ModelTable.resolve`. Raises NotFound, NotReady."""
        return self._table.resolve(name, version)

    async def acquire(self, name: str, version: str = "", deadline: float | None = None) -> Served:
        """As `resolve`, but waits for a version that is loaded at a call, and looks for an unknown one at other servers.

        See `LoadManager.acquire`. Raises NotFound, NotReady, DeadlineExceeded, MemoryFull.
        """
        try:
            return await self._loads.acquire(name, version, deadline)
        except NotFound:
            if not self._sync.may_be_elsewhere(name):
                raise
        await self._sync.look_soon(deadline)
        return await self._loads.acquire(name, version, deadline)

    def splits(self, name: str) -> bool:
        """Whether calls that name no version are split between two versions: each call may be resolved once only."""
        return self._table.splits(name)

    @property
    def rows_in_flight(self) -> int:
        """Rows inside all networks, those of heads on them included."""
        return self._table.rows_in_flight

    # ── status ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def status(self, name: str, version: str = "") -> ModelStatus:
        """The state of a model, or of one version of it. Raises NotFound for an unknown name or version."""
        return self._table.status(name, version)

    def statuses(self) -> list[ModelStatus]:
        """All models, in order of name."""
        return self._table.statuses()

    def versions(self, name: str) -> list[VersionStatus]:
        """The versions of a model, the newest first. Raises NotFound."""
        return self._reports.versions(name)

    async def survey(self, name: str) -> list[VersionStatus]:
        """As `versions`, with the damaged ones: all files are read now. Raises NotFound."""
        return await self._reports.survey(name)

    async def report(self, name: str, version: str = "") -> VersionReport:
        """How a tuned version did on held-out data. Raises NotFound, also for a model of the zoo, which has no report."""
        return await self._reports.report(name, version)

    def damaged_models(self) -> dict[str, str]:
        """Models of which nothing can be read, by name, and why: a card of the catalog, or all versions of a tuned model."""
        return self._discovery.damaged_models()

    def traffic(self, name: str) -> Traffic:
        """Which versions answer calls that name no version. Raises NotFound."""
        return self._table.record(name).traffic()

    def folder(self, name: str, version: str = "") -> Version | None:
        """The folder of a tuned version, for a job that measures another one beside it; None for an unknown model or version, and
        for a model of the zoo."""
        try:
            return self._table.record(name).find(version).published
        except NotFound:
            return None

    def check_new_name(self, name: str, field: str = "model") -> None:
        """Raises InvalidInput for a name that no tuned model may have, since it is one of the zoo's."""
        self._discovery.check_new_name(name, field)

    # ── loading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(self, name: str, version: str = "") -> ModelStatus:
        """Makes a model READY, after a look for an unknown one at other servers; see `LoadManager.load`.

        Raises NotFound, NotReady, MemoryFull, IllegalMove.
        """
        await self.seek(name, version)
        return await self._loads.load(name, version)

    def begin_load(self, name: str, version: str = "") -> asyncio.Task[None]:
        """Starts a load and returns its task, which ends in every case and never raises."""
        return self._loads.begin_load(name, version)

    async def unload(self, name: str, version: str = "") -> Unloaded:
        """Takes a model out of service once its rows in flight are answered; see `LoadManager.unload`."""
        return await self._loads.unload(name, version)

    def set_options(self, name: str, changes: Mapping[str, object]) -> tuple[ModelStatus, tuple[str, ...]]:
        """Changes options of a model while it serves; see `OptionChanges.set`. Raises NotFound, InvalidInput."""
        return self._options.set(name, changes)

    # ── versions ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def add_version(self, name: str, number: int) -> VersionStatus:
        """Learns, loads and warms up a version that was published; see `PromotionGate.add`."""
        version = await self._gate.add(name, number)
        return self._table.record(name).version_status(version, self.ledger)

    async def take(self, name: str, number: int, *, gated: bool = True) -> str:
        """Adds a version and makes it stable if it is good enough. Returns the outcome in one sentence."""
        return await self._gate.take(name, number, gated=gated)

    async def set_alias(self, name: str, alias: str, number: int) -> ModelStatus:
        """Points an alias at a version; see `AliasManager.set`."""
        await self._aliases.set(name, alias, number)
        return self.status(name)

    async def delete_alias(self, name: str, alias: str) -> ModelStatus:
        """Removes an alias; see `AliasManager.remove`."""
        await self._aliases.remove(name, alias)
        return self.status(name)

    async def rollback(self, name: str) -> tuple[ModelStatus, int]:
        """Makes `stable` name the version that it named before; see `AliasManager.roll_back`. Also returns the number that was
        stable until now."""
        left = await self._aliases.roll_back(name)
        return self.status(name), left

    async def set_traffic(self, name: str, canary: int, share: float) -> ModelStatus:
        """Gives a version a share of the calls that name none; see `AliasManager.split_traffic`."""
        await self._aliases.split_traffic(name, canary, share)
        return self.status(name)

    async def delete_version(self, name: str, number: int) -> int:
        """Deletes a version that no alias names; see `Deletion.delete`. Returns the bytes that were freed on disk."""
        await self._sync.look_now()
        return await self._deletion.delete(name, number)

    # ── other servers ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def restore(self) -> list[tuple[str, int]]:
        """Learns the versions on disk and their aliases; called once, first. Returns those in service: model and number."""
        return await self._sync.restore()

    def follow(self, every_s: float) -> None:
        """Looks at other servers periodically from now on, until `unfollow`."""
        self._sync.follow(every_s)

    def unfollow(self) -> None:
        """Looks no more."""
        self._sync.unfollow()

    async def seek(self, name: str, version: str = "") -> None:
        """Looks at other servers if a model or a version is not known here."""
        await self._sync.seek(name, version)

    async def look(self) -> None:
        """Learns what other servers published, named and deleted. Raises DatabaseError, StoreUnusable."""
        await self._sync.look()

    # ── faster tiers ──────────────────────────────────────────────────────────────────────────────────────────────────

    def serves(self, served: Served) -> bool:
        """Whether this load of its version answers now. From any thread."""
        return self._table.serves(served)

    def heads_on(self, served: ServedModel) -> list[ServedHead]:
        """Heads that answer from a loaded base's features now. From any thread."""
        return self._head_server.heads_on(served)

    def note_head_checks(self, served: ServedModel, runtime: Runtime, checks: Mapping[ServedHead, HeadCheck]) -> None:
        """Notes the checks of heads on the runtime that is about to replace their base's."""
        self._head_server.note_checks(served, runtime, checks)

    def is_fp32_runtime(self, served: ServedModel) -> bool:
        """Whether a network is the fp32 runtime of a base, for heads. From any thread."""
        return self._head_server.is_fp32_runtime(served)

    async def move_heads_to_fp32(
        self, served: ServedModel, runtime: Runtime, checks: Mapping[ServedHead, HeadCheck]
    ) -> None:
        """Moves heads that do not hold on `runtime` to an fp32 runtime of their base; see `HeadLoader.move_to_fp32`."""
        await self._heads.move_to_fp32(served, runtime, checks)

    def refresh(self, name: str) -> None:
        """Measures a loaded model again, after another runtime was swapped in. Harmless for a model that is not loaded."""
        self._networks.reweigh(name)

    # ── end ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def close(self) -> None:
        """Ends looks, the work that follows from them, evictions and loads, in this order; then waits until changes of aliases
        that were begun are stored. No other method may be called after this one."""
        self._sync.close()
        self._activation.close()
        self._loads.close()
        await self._writer.close()
