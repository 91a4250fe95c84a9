"""Builds a registry from its parts. Each part gets the parts it needs by its constructor; none of them knows the registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from model_zoo.cards.card import Card
from model_zoo.live_catalog import LiveCatalog
from model_zoo.versions import Versions
from service.observability.recorder import Recorder
from service.registry.loading.eviction import Evictor
from service.registry.loading.head_loading import HeadLoader
from service.registry.loading.load_manager import LoadManager
from service.registry.loading.loaded import ModelLoader
from service.registry.loading.memory_ledger import Ledger
from service.registry.loading.network_loading import NetworkLoader
from service.registry.loading.served_heads import HeadServer
from service.registry.loading.unloading import Unloader
from service.registry.model_table import ModelTable, catalog_records
from service.registry.option_changes import OptionChanges
from service.registry.registry import Registry
from service.registry.rollout.canary import Bounds
from service.registry.rollout.canary_monitor import CanaryMonitor
from service.registry.rollout.promotion_gate import PromotionGate
from service.registry.versions.alias_activation import AliasActivation
from service.registry.versions.alias_manager import AliasManager
from service.registry.versions.alias_writer import AliasWriter
from service.registry.versions.damaged_versions import DamagedVersions
from service.registry.versions.deletion import Deletion
from service.registry.versions.discovery import Discovery
from service.registry.versions.pulled_models import PulledModels
from service.registry.versions.replica_sync import ReplicaSync
from service.registry.versions.revisioned_aliases import AliasStorage, InMemoryAliases
from service.registry.versions.version_folders import VersionFolders
from service.registry.versions.version_reports import VersionReports
from service.scheduler.scheduler import DeviceScheduler
from service.settings import ModelOptions


def build_registry(
    cards: Mapping[str, Card],
    defaults: Callable[[Card], ModelOptions],
    loader: ModelLoader,
    scheduler: DeviceScheduler,
    recorder: Recorder,
    *,
    given: Mapping[str, ModelOptions] | None = None,
    ledger: Ledger | None = None,
    on_demand: bool = False,
    is_here: Callable[[Card], bool] = lambda card: True,
    versions: Versions | None = None,
    damaged_cards: Mapping[str, str] | None = None,
    growing: LiveCatalog | None = None,
    aliases: AliasStorage | None = None,
    bounds: Bounds | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Registry:
    """A registry of the catalog's models. Tuned models are known after `restore`.

    Args:
        cards: the catalog's cards by name.
        defaults: has a value for every option of a card's model.
        given: options that were given for single models.
        on_demand: a call loads a model whose files are on this machine, according to `is_here`.
        versions: where tuned versions are; None for a server without any.
        damaged_cards: cards of the catalog that cannot be read, and why; the mapping may change.
        growing: the catalog to which models may be added by a pull; None if none can.
        aliases: stores aliases for all servers.
        bounds: when a canary loses its share.
        clock: the event loop's.
    """
    ledger = ledger or Ledger()
    storage = aliases or InMemoryAliases()
    options_given = dict(given or {})
    damaged = DamagedVersions(damaged_cards)
    folders = VersionFolders(versions, damaged)

    table = ModelTable(recorder, ledger, why_damaged=lambda name: damaged.models().get(name), clock=clock)
    for record in catalog_records(cards, defaults, options_given, reloads_on_call=on_demand):
        table.add(record)

    unloader = Unloader(table, ledger, recorder)
    evictor = Evictor(table, ledger, unloader)
    head_server = HeadServer(table, recorder)
    networks = NetworkLoader(
        table, loader, scheduler, recorder, ledger, evictor, unloader, head_server, on_demand=on_demand, clock=clock
    )
    heads = HeadLoader(table, loader, recorder, networks, unloader, head_server, defaults, clock=clock)
    loads = LoadManager(table, networks, heads, unloader, evictor, is_here, clock)

    discovery = Discovery(table, folders, defaults, options_given)
    activation = AliasActivation(table, loads, unloader, damaged, clock)
    writer = AliasWriter(storage, folders, activation)
    canaries = CanaryMonitor(activation, writer, recorder, bounds or Bounds(), clock)
    deletion = Deletion(table, unloader, folders, discovery, storage, activation, writer)
    pulled = PulledModels(table, growing, defaults, options_given, on_demand=on_demand)
    sync = ReplicaSync(
        table, folders, discovery, storage, activation, canaries, deletion, pulled, clock=clock, sleep=sleep
    )
    manager = AliasManager(table, loads, writer, sync)
    reports = VersionReports(table, ledger, folders, sync)
    return Registry(
        ledger=ledger,
        table=table,
        networks=networks,
        heads=heads,
        head_server=head_server,
        loads=loads,
        options=OptionChanges(table, options_given),
        discovery=discovery,
        activation=activation,
        writer=writer,
        deletion=deletion,
        sync=sync,
        aliases=manager,
        reports=reports,
        gate=PromotionGate(table, loads, discovery, sync, manager, reports),
    )
