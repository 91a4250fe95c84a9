"""The release after this one: a copy of Zoo with a migration more, a field more in jobs, and the next version number.

It stands for what a later release may change while servers of this one run beside it: see CONTRIBUTING.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.end_to_end.server_process import ServerProcess
from tests.support.paths import REPOSITORY

REVISION = "9001"
VERSION = "99.0.0"
COMMAND = ("-c", "from service.cli.main import main; main()", "serve")

_MIGRATION = '''
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{previous}"
oldest_compatible = "{previous}"


def upgrade() -> None:
    """A column that may be NULL, one with a default, and a table."""
    op.add_column("jobs", sa.Column("reviewer", sa.String(64), nullable=True))
    op.add_column("traffic", sa.Column("mirror_share", sa.Double(), nullable=False, server_default="0"))
    op.create_table("reviews", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("text", sa.Text()))
'''
_LAST_FIELD = '    display_name: str = Field(default="", max_length=128)\n'
_NEW_FIELD = '    reviewer: str = "someone"\n'


def next_release(folder: Path, newest_migration: str) -> Path:
    """Writes the next release into a folder, for PYTHONPATH."""
    unused = shutil.ignore_patterns("__pycache__")
    for package in ("service", "model_zoo"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=unused)
    about = folder / f"zoo_serving-{VERSION}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: zoo-serving\nVersion: {VERSION}\n")
    script = folder / "service" / "database" / "migrations" / "versions" / "m9001_reviews.py"
    script.write_text(_MIGRATION.format(revision=REVISION, previous=newest_migration))
    spec = folder / "service" / "training" / "job_spec.py"
    text = spec.read_text()
    assert text.count(_LAST_FIELD) == 1
    spec.write_text(text.replace(_LAST_FIELD, _LAST_FIELD + _NEW_FIELD))
    return folder


def serve_next_release(release: Path, *arguments: str, **settings: str) -> ServerProcess:
    """Starts a server of the next release."""
    return ServerProcess(*arguments, command=COMMAND, cold=True, cwd=release, PYTHONPATH=str(release), **settings)
