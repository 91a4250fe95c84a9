"""All checks of a home in order, and exclusive access to the home for a quarantine."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_zoo.catalog import Catalog
from model_zoo.locking import try_lock
from service.doctor import database as database_checks
from service.doctor import home as home_checks
from service.doctor.findings import Report
from service.doctor.home import check_cards, check_datasets, check_home, check_jobs, check_versions, check_weights
from service.jobs.job_folder import JOBS
from service.settings import HOME_LOCK


class HomeInUseError(Exception):
    """A server uses the home, so nothing in it may be moved. The text is one sentence."""


def run_checkup(home: Path, database: str = "", *, digests: bool = False, alone: bool = False) -> Report:
    """Checks everything. `database`: the URL of the setting. `digests`: whether the contents of files are read as well. `alone`:
    whether the caller has exclusive access."""
    report = Report()
    exists = check_home(home, report)
    tables = database_checks.open_tables(database, home, report) if exists or database else None
    job_ids = None
    try:
        if tables is not None:
            job_ids = database_checks.check_job_rows(tables, report)
        if exists:
            catalog = Catalog.of_home(home)
            check_datasets(home, report, digests=digests)
            check_jobs(home, report, job_ids)
            check_versions(home, report, [*catalog.names(), *catalog.damaged], digests=digests)
            check_weights(home, report, digests=digests)
            check_cards(report, catalog)
        if tables is not None:
            database_checks.check_aliases(tables, report, _versions(home))
            for server in database_checks.lease_holders(tables, time.time()):
                report.note("home", server, "a server that runs a job now")
    finally:
        if tables is not None:
            tables.close()
    if exists and not alone and server_is_running(home):
        report.note("home", str(home), "a server runs on it; files that it writes now may look unfinished", home)
    return report


def _versions(home: Path) -> set[tuple[str, int]]:
    return {
        (model.name, int(path.name))
        for model in home_checks.list_entries(home / "versions")
        if model.is_dir()
        for path in home_checks.list_entries(model)
        if path.name.isascii() and path.name.isdigit() and len(path.name) < 18
    }


def server_is_running(home: Path) -> bool:
    """Whether a server on this machine uses the home."""
    try:
        if (home / HOME_LOCK).exists():
            descriptor = try_lock(home / HOME_LOCK, exclusive=True)
            if descriptor is None:
                return True
            os.close(descriptor)
    except OSError:
        pass
    return any(_locked(path) for path in (home / JOBS).glob(".server-*"))


def _locked(path: Path) -> bool:
    """Whether a server holds the lock file of its name. Servers of earlier versions hold only this lock."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive_access(home: Path, database: str = "") -> Iterator[None]:
    """Locks the home, so that no server or pull starts in the block. Raises HomeInUseError if one uses the home, OSError."""
    descriptor = try_lock(home / HOME_LOCK, exclusive=True)
    if descriptor is None or any(_locked(path) for path in (home / JOBS).glob(".server-*")):
        if descriptor is not None:
            os.close(descriptor)
        raise HomeInUseError(f"a server or a pull works on {home}; stop it before anything is moved or removed")
    try:
        tables = database_checks.open_tables(database, home, Report())
        if tables is not None:
            try:
                holders = database_checks.lease_holders(tables, time.time())
            finally:
                tables.close()
            if holders:
                raise HomeInUseError(
                    f"server {holders[0]} runs a job of this database; stop it, or wait half a minute if it is gone"
                )
        yield
    finally:
        os.close(descriptor)
