from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from service.database import Database
from tests.support.database.fixtures import opened
from tests.support.jobs.fakes import JobSandbox, sandbox_at


@pytest_asyncio.fixture
async def sandbox(sqlite_url: str, tmp_path: Path) -> AsyncIterator[JobSandbox]:
    """On SQLite."""
    async with sandbox_at(sqlite_url, tmp_path / "home") as made:
        yield made


@pytest_asyncio.fixture
async def sandbox_on_both(tables_url: str, tmp_path: Path) -> AsyncIterator[JobSandbox]:
    """On SQLite, and on PostgreSQL."""
    async with sandbox_at(tables_url, tmp_path / "home") as made:
        yield made


@pytest.fixture
def database(tables_url: str) -> Iterator[Database]:
    """On SQLite, and on PostgreSQL."""
    opened_database = opened(tables_url)
    yield opened_database
    opened_database.close()
