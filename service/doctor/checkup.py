"""The whole checkup, in order, and quarantine where it is wanted."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_zoo.catalog import Catalog
from model_zoo.locking import try_lock
from service.doctor import database as tables_of
from service.doctor import home as home_of
from service.doctor.findings import Report
from service.doctor.home import check_cards, check_datasets, check_home, check_jobs, check_versions, check_weights
from service.jobs.job_folder import JOBS
from service.settings import HOME_LOCK


class HomeInUseError(Exception):
    """A server works on the home, so nothing in it may be moved. One sentence."""


def run_checkup(home: Path, database: str = "", *, digests: bool = False) -> Report:
    """Looks at everything. `database`: the URL of the setting. `digests`: whether the contents of files are read, too."""
    report = Report()
    there = check_home(home, report)
    tables = tables_of.open_tables(database, home, report) if there or database else None
    known = None
    try:
        if tables is not None:
            known = tables_of.check_job_rows(tables, report)
        if there:
            catalog = Catalog.readable()
            check_datasets(home, report, digests=digests)
            check_jobs(home, report, known)
            check_versions(home, report, [*catalog.names(), *catalog.damaged], digests=digests)
            check_weights(home, report, digests=digests)
            check_cards(report, catalog)
        if tables is not None:
            tables_of.check_aliases(tables, report, _versions(home))
            for server in tables_of.lease_holders(tables, time.time()):
                report.note("home", server, "a server that works on a job at this moment")
    finally:
        if tables is not None:
            tables.close()
    if there and server_is_running(home):
        report.note("home", str(home), "a server runs on it; what it is just writing may look unfinished", home)
    return report


def _versions(home: Path) -> set[tuple[str, int]]:
    return {
        (model.name, int(path.name))
        for model in home_of.list_entries(home / "versions")
        if model.is_dir()
        for path in home_of.list_entries(model)
        if path.name.isascii() and path.name.isdigit() and len(path.name) < 18
    }


def server_is_running(home: Path) -> bool:
    """Whether a server on this machine holds the home."""
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
    """Whether a server works under a name: so one of an earlier version shows itself, too."""
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
    """Nobody else works on the home, and no server starts meanwhile. Raises HomeInUseError, OSError."""
    descriptor = try_lock(home / HOME_LOCK, exclusive=True)
    if descriptor is None or any(_locked(path) for path in (home / JOBS).glob(".server-*")):
        if descriptor is not None:
            os.close(descriptor)
        raise HomeInUseError(f"a server runs on {home}; stop it before anything is moved")
    try:
        tables = tables_of.open_tables(database, home, Report())
        if tables is not None:
            try:
                working = tables_of.lease_holders(tables, time.time())
            finally:
                tables.close()
            if working:
                raise HomeInUseError(
                    f"server {working[0]} works on a job of this database; stop it, or wait half a minute if it is gone"
                )
        yield
    finally:
        os.close(descriptor)
