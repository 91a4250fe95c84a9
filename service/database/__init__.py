"""The database that jobs and registry share: engine, tables, migrations.

engine.py    `Database`: reads and writes, one transaction each, off the event loop; SQLite or PostgreSQL by URL
tables.py    every table
migrate.py   brings the tables of an older database up to date at start
"""

from service.database.engine import Database, database_url
from service.database.errors import DatabaseError, DatabaseFull, DatabaseUnavailable

__all__ = ["Database", "DatabaseError", "DatabaseFull", "DatabaseUnavailable", "database_url"]
