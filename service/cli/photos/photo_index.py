"""The index of a folder: one SQLite file with its photos, and the answers about them by digest.

A reader sees the last commit while an indexer writes. One indexer at a time: it holds a lock file beside the index.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from model_zoo.locking import try_lock
from service.cli.photos.errors import PhotosError
from service.cli.photos.index_model import IndexModel, Purpose
from service.cli.photos.scan import Photo

APPLICATION, FORMAT = 0x5A4F4F50, 1
"""SQLite's `application_id` of an index, so that another program's file is never written, and the version of the tables."""
BLOCK = 4096
"""Answers that a search holds at a time: 10 MB of embeddings of 1,280 numbers."""
_BUSY_S = 30.0
_SCHEMA = """
CREATE TABLE folder (path BLOB NOT NULL);
CREATE TABLE models (
    purpose TEXT PRIMARY KEY, name TEXT NOT NULL, version INTEGER NOT NULL, weights TEXT NOT NULL, labels TEXT NOT NULL
);
CREATE TABLE photos (
    name TEXT PRIMARY KEY, path BLOB NOT NULL, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL, digest BLOB NOT NULL
);
CREATE INDEX photos_by_digest ON photos (digest);
CREATE TABLE answers (
    purpose TEXT NOT NULL, digest BLOB NOT NULL, data BLOB NOT NULL, problem TEXT NOT NULL, PRIMARY KEY (purpose, digest)
);
"""
_FOUND = "EXISTS (SELECT 1 FROM photos WHERE photos.digest = answers.digest)"
"""The photo of an answer is in the folder: those of removed photos stay until an indexer has come to its end."""


@dataclass(frozen=True, slots=True)
class KnownPhoto:
    """A photo as it was when it was read."""

    size: int
    modified_ns: int
    digest: bytes

    def is_unchanged(self, photo: Photo) -> bool:
        """Whether a file has the size and the time of change that it had."""
        return (self.size, self.modified_ns) == (photo.size, photo.modified_ns)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said about a photo."""

    digest: bytes
    data: bytes


class PhotoIndex:
    """An open index. It belongs to the thread that opened it; `writable_index` and `existing_index` open one."""

    def __init__(self, file: Path, connection: sqlite3.Connection) -> None:
        self.file = file
        self._connection = connection

    # ── models ────────────────────────────────────────────────────────────────────────────────────────────────────

    def model(self, purpose: Purpose) -> IndexModel | None:
        """The model whose answers are kept."""
        query = "SELECT name, version, weights, labels FROM models WHERE purpose = ?"
        for name, version, weights, labels in self._run(query, purpose):
            return IndexModel(name, version, weights, tuple(strict_json.read(labels)))
        return None

    def use_model(self, purpose: Purpose, model: IndexModel) -> bool:
        """Keeps the answers of this model from now on; gives whether those of another one were dropped."""
        before = self.model(purpose)
        if before == model:
            return False
        self._run("DELETE FROM answers WHERE purpose = ?", purpose)
        labels = strict_json.text(list(model.labels))
        self._run(
            "REPLACE INTO models VALUES (?, ?, ?, ?, ?)",
            purpose,
            model.name,
            model.version,
            model.weights_sha256,
            labels,
        )
        self.commit()
        return before is not None

    # ── photos ────────────────────────────────────────────────────────────────────────────────────────────────────

    def known(self) -> dict[str, KnownPhoto]:
        """The photos by name."""
        rows = self._run("SELECT name, size, modified_ns, digest FROM photos")
        return {name: KnownPhoto(size, modified_ns, digest) for name, size, modified_ns, digest in rows}

    def add_photo(self, folder: Path, photo: Photo, digest: bytes) -> None:
        """Adds a photo, or replaces what was known of it."""
        path = os.fsencode(photo.path.relative_to(folder))
        self._run("REPLACE INTO photos VALUES (?, ?, ?, ?, ?)", photo.name, path, photo.size, photo.modified_ns, digest)

    def forget(self, names: Iterable[str]) -> None:
        """Removes photos. Their answers stay until `prune`, for copies that come later."""
        for name in names:
            self._run("DELETE FROM photos WHERE name = ?", name)

    def prune(self) -> None:
        """Removes answers about photos that are gone."""
        self._run(f"DELETE FROM answers WHERE NOT {_FOUND}")  # noqa: S608  # a constant

    def places(self, digests: Sequence[bytes]) -> dict[bytes, list[tuple[str, Path]]]:
        """Names and relative paths of the photos with these digests, in order of name."""
        found: dict[bytes, list[tuple[str, Path]]] = {digest: [] for digest in digests}
        for digest in found:
            for name, path in self._run("SELECT name, path FROM photos WHERE digest = ? ORDER BY name", digest):
                found[digest].append((name, Path(os.fsdecode(path))))
        return found

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────

    def answered(self, purpose: Purpose) -> set[bytes]:
        """Digests of the photos that need no call: those with an answer, and those that the server refuses to read."""
        return {digest for (digest,) in self._run("SELECT digest FROM answers WHERE purpose = ?", purpose)}

    def add_answer(self, purpose: Purpose, digest: bytes, data: bytes, problem: str = "") -> None:
        """Keeps an answer, or why the server cannot read the photo."""
        self._run("REPLACE INTO answers VALUES (?, ?, ?, ?)", purpose, digest, data, problem)

    def answer(self, purpose: Purpose, digest: bytes) -> bytes | None:
        """The answer about one photo."""
        query = "SELECT data FROM answers WHERE purpose = ? AND digest = ? AND problem = ''"
        return next((data for (data,) in self._run(query, purpose, digest)), None)

    def blocks(self, purpose: Purpose) -> Iterator[list[Answer]]:
        """The answers about the photos of the folder, a block at a time, in order of digest."""
        query = f"SELECT digest, data FROM answers WHERE purpose = ? AND problem = '' AND {_FOUND} ORDER BY digest"  # noqa: S608
        rows = self._run(query, purpose)
        while block := [Answer(digest, data) for digest, data in self._fetched(rows)]:
            yield block

    def problems(self) -> list[tuple[str, str]]:
        """Names of photos that the server cannot read, each with one reason."""
        query = (
            "SELECT photos.name, MIN(problem) FROM answers JOIN photos USING (digest) WHERE problem <> '' "
            "GROUP BY photos.name ORDER BY photos.name"
        )
        return list(self._run(query))

    def count(self, purpose: Purpose) -> int:
        """How many photos of the folder have an answer."""
        query = "SELECT COUNT(*) FROM photos JOIN answers USING (digest) WHERE purpose = ? AND problem = ''"
        return int(next(iter(self._run(query, purpose)))[0])

    def commit(self) -> None:
        """Makes what was added visible, and keeps it if the process is killed."""
        with _sentences(self.file):
            self._connection.commit()

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        with _sentences(self.file):
            return self._connection.execute(statement, values)

    def _fetched(self, rows: sqlite3.Cursor) -> list[Any]:
        with _sentences(self.file):
            return rows.fetchmany(BLOCK)


def index_file(home: Path, folder: Path) -> Path:
    """Where the index of a folder is kept, by the folder's real path."""
    return home / "photos" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.sqlite3"


@contextmanager
def writable_index(file: Path, folder: Path) -> Iterator[PhotoIndex]:
    """The index of a folder for an indexer; made if there is none. Raises PhotosError, OSError.

    What was added is committed at the end, also where the block raises.
    """
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = try_lock(file.with_name(f"{file.name}.lock"), exclusive=True)
    if lock is None:
        raise PhotosError(f"another `zoo photos index` writes the index of {str(folder)!r} now; wait for its end")
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))  # for this user alone: it has names
        with closing(_connection(file)) as connection, _sentences(file):
            if _is_index(file, connection):
                _check_folder(file, connection, folder)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            if not _is_index(file, connection):
                _make(connection, folder)
            index = PhotoIndex(file, connection)
            try:
                yield index
            finally:
                connection.commit()
    finally:
        os.close(lock)


@contextmanager
def existing_index(file: Path, folder: Path) -> Iterator[PhotoIndex]:
    """The index of a folder for a search. Raises PhotosError if there is none, or if it cannot be used."""
    if not file.is_file() or not file.stat().st_size:
        raise PhotosError(f"{str(folder)!r} has no index yet; `zoo photos index` makes one")
    with closing(_connection(file)) as connection, _sentences(file):
        if not _is_index(file, connection):
            raise PhotosError(f"{str(folder)!r} has no index yet; `zoo photos index` makes one")
        _check_folder(file, connection, folder)
        yield PhotoIndex(file, connection)


def _connection(file: Path) -> sqlite3.Connection:
    with _sentences(file):
        return sqlite3.connect(file, timeout=_BUSY_S)


def _is_index(file: Path, connection: sqlite3.Connection) -> bool:
    """Whether a database is an index; False for one without any table. Raises PhotosError for one of another program."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]
    if not (application or version or tables):
        return False
    if application != APPLICATION:
        raise PhotosError(f"{str(file)!r} is a database of another program; name another file with --index")
    if version != FORMAT:
        raise PhotosError(f"{str(file)!r} was written by another release of Zoo; remove it and index again")
    return True


def _make(connection: sqlite3.Connection, folder: Path) -> None:
    connection.executescript(f"BEGIN; {_SCHEMA}")
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    connection.execute("INSERT INTO folder VALUES (?)", (os.fsencode(folder),))
    connection.commit()


def _check_folder(file: Path, connection: sqlite3.Connection, folder: Path) -> None:
    path = Path(os.fsdecode(connection.execute("SELECT path FROM folder").fetchone()[0]))
    if path != folder:
        raise PhotosError(f"{str(file)!r} is the index of {str(path)!r}; name another file with --index")


@contextmanager
def _sentences(file: Path) -> Iterator[None]:
    """Errors of SQLite as sentences."""
    try:
        yield
    except sqlite3.Error as error:
        raise PhotosError(f"the index {str(file)!r} cannot be used: {error}") from None
