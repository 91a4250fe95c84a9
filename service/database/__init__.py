"""The database that server, jobs and registry share: engine, tables, migrations."""
