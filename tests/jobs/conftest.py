from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.support.databases import (
    postgres,
    postgres_with_tables,
    sqlite_url,
    sqlite_with_tables,
    tables_url,
)
from tests.support.job_fakes import Shop, shop_at

__all__ = ["postgres", "postgres_with_tables", "sqlite_url", "sqlite_with_tables", "tables_url"]


@pytest_asyncio.fixture
async def shop(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """On SQLite."""
    async with shop_at(sqlite_url, tmp_path / "home") as made:
        yield made


@pytest_asyncio.fixture
async def shop_on_both(tables_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """On SQLite, and on PostgreSQL."""
    async with shop_at(tables_url, tmp_path / "home") as made:
        yield made
