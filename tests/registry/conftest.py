from tests.support.databases import (
    postgres,
    postgres_with_tables,
    sqlite_url,
    sqlite_with_tables,
    tables_url,
)

__all__ = ["postgres", "postgres_with_tables", "sqlite_url", "sqlite_with_tables", "tables_url"]
