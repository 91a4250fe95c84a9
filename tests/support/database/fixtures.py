"""Fixtures of real databases. `url` and `tables_url` run a test on SQLite and on PostgreSQL, `sqlite_url` on SQLite alone."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.database import Database, database_url
from tests.support.database.postgres import Postgres, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.component)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'zoo.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.fresh() as made:
        yield made


@pytest.fixture(scope="session")
def sqlite_with_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that tests copy."""
    path = tmp_path_factory.mktemp("database") / "zoo.db"
    _make_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_with_tables(postgres: Postgres) -> Iterator[str]:
    """The name of a database that tests copy."""
    with postgres.fresh() as url:
        _make_tables(url)
        yield url.rpartition("/")[2]


@pytest.fixture
def sqlite_url(sqlite_with_tables: Path, tmp_path: Path) -> str:
    """The URL of an SQLite database with all tables, empty."""
    return f"sqlite:///{shutil.copy(sqlite_with_tables, tmp_path / 'zoo.db')}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.component)])
def tables_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a database with all tables, empty."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    server: Postgres = request.getfixturevalue("postgres")
    with server.fresh(request.getfixturevalue("postgres_with_tables")) as made:
        yield made


def _make_tables(url: str) -> None:
    database = opened(url)
    asyncio.run(database.open())
    database.close()


def opened(url: str, home: Path = Path("/nowhere")) -> Database:
    return Database(database_url(url, home))
