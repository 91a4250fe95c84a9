"""Lists of versions with the damaged ones, and reports of versions on held-out data."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from model_zoo.errors import ZooModelError
from service.errors import NotFound
from service.registry.loading.background import in_daemon
from service.registry.loading.memory_ledger import Ledger
from service.registry.model_status import VersionReport, VersionStatus
from service.registry.model_table import ModelTable
from service.registry.versions.replica_sync import ReplicaSync
from service.registry.versions.serving_report import serving, with_serving
from service.registry.versions.version_folders import VersionFolders


class VersionReports:
    """Reads versions' files for users. All methods belong to the event loop."""

    def __init__(self, table: ModelTable, ledger: Ledger, folders: VersionFolders, sync: ReplicaSync) -> None:
        self._table = table
        self._ledger = ledger
        self._folders = folders
        self._sync = sync

    def versions(self, name: str) -> list[VersionStatus]:
        """The versions of a model, the newest first. Raises NotFound."""
        return self._table.record(name).version_statuses(self._ledger)

    async def survey(self, name: str) -> list[VersionStatus]:
        """As `versions`, with the damaged ones: all files are read now. Raises NotFound."""
        await self._sync.seek(name)
        record = self._table.get(name)
        damaged = self._folders.damaged.of(name)
        if (record is None and not damaged) or (record is not None and not record.tuned):
            return self.versions(name)
        known = set() if record is None else set(record.versions)
        wanted = {(name, number) for number in known | set(damaged)}
        if self._folders.versions is not None:
            await in_daemon(partial(self._folders.read, wanted), f"survey-{name}")
        damaged = self._folders.damaged.of(name)
        statuses = [] if record is None else record.version_statuses(self._ledger)
        listed = [replace(s, damaged=damaged[s.number].reason) if s.number in damaged else s for s in statuses]
        listed += [
            one.status(() if record is None else record.stored.aliases.of(number))
            for number, one in damaged.items()
            if number not in {status.number for status in statuses}
        ]
        return sorted(listed, key=lambda status: -status.number)

    async def report(self, name: str, version: str = "") -> VersionReport:
        """How a tuned version did on held-out data. Raises NotFound, also for a model of the zoo, which has no report."""
        await self._sync.seek(name, version)
        found = self._table.record(name).find(version)
        if found.published is None or self._folders.versions is None:
            raise NotFound("report", name, known="only fine-tuned versions have one")
        try:
            read = partial(self._folders.versions.report, name, found.number)
            report, html = await in_daemon(read, f"report-{found.key}")
        except ZooModelError as error:
            raise NotFound("report", f"{name} {found.number}", known=str(error)) from error
        noted = await in_daemon(found.check_record.all_noted, f"report-{found.key}")
        return VersionReport(found.number, {**report, "serving": serving(noted)}, with_serving(html, noted))
