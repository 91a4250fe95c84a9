"""A real PostgreSQL server on a free loopback port, with a fresh database for each test."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

PASSWORD = "open sesame"


def binaries() -> Path:
    """The folder of initdb and pg_ctl. Without them the test is skipped, or fails where ZOO_REQUIRE_COMPONENTS=1."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    found = installed[-1] if installed else Path(on_path) if on_path else None
    if found is None:
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            pytest.fail("PostgreSQL's initdb is not on this machine")
        pytest.skip("PostgreSQL's initdb is not on this machine")
    return found.parent


class Postgres:
    """A server on loopback that asks for a password."""

    def __init__(self, folder: Path) -> None:
        self._bin, self._data = binaries(), folder / "data"
        self._run = partial(subprocess.run, check=True, capture_output=True, timeout=60, cwd=folder)
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._run = partial(self._run, user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        secret = folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run(
            [
                self._bin / "initdb",
                "-D",
                self._data,
                "-U",
                "zoo",
                "-A",
                "scram-sha-256",
                "--pwfile",
                secret,
                "--no-sync",
            ]
        )
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.start_command = [
            self._bin / "pg_ctl",
            "-D",
            self._data,
            "-w",
            "-o",
            options,
            "-l",
            folder / "log",
            "start",
        ]
        self.start()

    def start(self) -> None:
        # pg_ctl starts a daemon that would keep our pipes open.
        self._run(self.start_command, capture_output=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self._run([self._bin / "pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop"])

    def url(self, name: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://zoo:{password.replace(' ', '%20')}@127.0.0.1:{self.port}/{name}"

    @contextmanager
    def fresh(self, like: str = "template1") -> Iterator[str]:
        """The URL of a database that is dropped at the end: empty, or a copy of a database without connections."""
        name = f"zoo_{secrets.token_hex(6)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like}")
            try:
                yield self.url(name)
            finally:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running() -> Iterator[Postgres]:
    # Not in pytest's folder: other users cannot read that, and the server runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="zoo-postgres-"))
    folder.chmod(0o755)
    try:
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
