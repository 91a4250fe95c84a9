"""Compiled networks on disk, so that the next start loads them at once.

    ZOO_HOME/compiled/             mode 0700: the code here is executed
      <key>/  network.so           key: sha256 of all that decides the code; the files are those of the compiler
              manifest.json        sha256 of each file, names of the tensors, seconds of the compilation
              evidence.json        what was measured of the network on this machine; see `tiering/stored_evidence.py`
              .trial-<pid>-<server> a server loads or checks the network; what remains of a server that ended meanwhile counts
      .staging-<pid>-<server>-…/   the output of a worker that is running; removed with its server
      inductor/, triton/           code that torch compiled for a GPU, under its own keys

A folder appears by rename, complete. A folder that differs from its manifest is removed and compiled again. A folder may have
a manifest alone, with the reason for which a compiler refuses the network. If any user but this one (or root) could have
written here, nothing is loaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_zoo import strict_json
from model_zoo.sources.digest import sha256_of_file
from service.observability.log import logger
from service.runtime.compilers.compiled_manifest import (
    FILES,
    MANIFEST,
    Manifest,
    Refusal,
    manifest,
    read_manifest,
    refusal,
)
from service.runtime.compilers.server_marks import belongs_to_dead_server, is_mark, mark

log = logger(__name__)

MAX_NETWORKS = 64
"""On disk; the least recently used are removed."""
ABANDONED_S = 3600.0
EVIDENCE = "evidence.json"
MOST_TRIALS = 2
"""Servers that may end while they load or check a network. No other one tries it then: the network may end the process."""
FORGOTTEN_S = 24 * 3600.0
"""After this the end of such a server counts no more: something else may have ended it."""


TRIAL = "trial"


class CannotCompile(Exception):
    """A network is not compiled. The text is the reason, one sentence, fit for a client."""


@dataclass(frozen=True, slots=True)
class CompiledPackage:
    """A compiled network on disk, its digests checked."""

    folder: Path
    digests: dict[str, str]
    """sha256 of each file by its name."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    compile_s: float
    """Seconds that the compilation took."""


class CompiledCache:
    """The folder `compiled` of a home. Threads and processes may share it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "compiled"
        self._stopped = False

    def find(self, key: str) -> CompiledPackage | None:
        """A compiled network, or None. The whole file is read; a damaged network is removed.

        Raises:
            CannotCompile: the compiler has refused the network before, or another user may write into the folder.
        """
        folder = self._folder / key
        if not self._folder.is_dir():
            return None
        self._check_private()
        self._sweep_staging()
        found = read_manifest(folder)
        try:
            if found is None:
                raise ValueError
            _check_owner(folder)
            if isinstance(found, Manifest):
                for name, digest in found.files.items():
                    _check_owner(folder / name)
                    if sha256_of_file(folder / name) != digest:
                        raise ValueError
            os.utime(folder)  # marks it as used now
            if isinstance(found, Refusal):
                raise CannotCompile(found.refused)
            return CompiledPackage(folder, found.files, tuple(found.inputs), tuple(found.outputs), found.compile_s)
        except (OSError, ValueError):
            if folder.exists() or folder.is_symlink():
                log.warning("a compiled network is damaged and is compiled again", key=key)
                _remove(folder)
            return None

    def is_empty(self) -> bool:
        """Whether there is no compiled network at all."""
        return next(self._folder.glob(f"[0-9a-f]*/{MANIFEST}"), None) is None

    def staging(self) -> Path:
        """A new folder for a worker. Raises CannotCompile if it cannot be made, or another user may write into it."""
        with self._writable():
            self._sweep()
            folder = self._folder / f"{mark('staging')}-{uuid.uuid4().hex[:8]}"
            folder.mkdir(mode=0o700)
        return folder

    def subfolder(self, name: str) -> Path:
        """A permanent folder for code that torch manages itself. Raises CannotCompile as `staging` does."""
        with self._writable():
            folder = self._folder / name
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def publish(
        self,
        key: str,
        staging: Path,
        inputs: list[str],
        outputs: list[str],
        compile_s: float,
        compiler: str = "aotinductor",
    ) -> CompiledPackage:
        """Make the files of a compiler in a staging folder available under their key. Raises CannotCompile."""
        done = staging / "done"
        try:
            done.mkdir(mode=0o700)
            for name in FILES[compiler]:
                (staging / name).rename(done / name)
                (done / name).chmod(0o600)
            digests = {name: sha256_of_file(done / name) for name in FILES[compiler]}
            self._publish(key, done, manifest(compiler, digests, inputs, outputs, compile_s), FILES[compiler])
        except OSError as error:
            raise CannotCompile(f"the compiled network could not be stored: {error.strerror}") from error
        package = self.find(key)
        if package is None:
            raise CannotCompile("the compiled network was damaged while it was stored")
        return package

    def refuse(self, key: str, staging: Path, reason: str, compiler: str) -> None:
        """Remember that a compiler refuses a network. If the disk does not take it, the next start tries again."""
        done = staging / "refused"
        with suppress(OSError):
            done.mkdir(mode=0o700)
            self._publish(key, done, refusal(compiler, reason), ())

    def _publish(self, key: str, done: Path, document: Manifest | Refusal, files: Sequence[str]) -> None:
        """Write the manifest beside the files, and give the folder its key. Raises OSError."""
        (done / MANIFEST).write_text(strict_json.text(document.model_dump(), indent=1))
        for name in (MANIFEST, *files):
            with (done / name).open("r+b") as handle:  # to disk before the rename that publishes it
                os.fsync(handle.fileno())
        with suppress(OSError):  # another server of this home has published the same code first
            done.rename(self._folder / key)

    @contextmanager
    def trial(self, package: CompiledPackage) -> Iterator[None]:
        """Around the load and the check of a network. It is refused where servers have ended meanwhile. Raises CannotCompile."""
        ended = [path for path in package.folder.glob(f".{TRIAL}-*") if is_mark(path) and belongs_to_dead_server(path)]
        ended = [path for path in ended if not _removed_if_old(path)]
        if len(ended) >= MOST_TRIALS:
            log.error(
                "servers ended while they loaded or checked a compiled network; it is tried again after a day, or once its"
                " folder is removed",
                key=package.folder.name,
            )
            raise CannotCompile(
                f"{len(ended)} servers ended while they loaded or checked the compiled network; it is tried again after a day"
            )
        own = package.folder / mark(TRIAL)
        with suppress(OSError):
            if not self._stopped:
                own.touch(mode=0o600)
        try:
            yield
        finally:
            for path in (own, *ended):
                with suppress(OSError):
                    path.unlink()

    def stop(self) -> None:
        """This server ends now, for a reason of its own: a trial that it does not bring to an end counts against no network."""
        self._stopped = True
        for path in self._folder.glob(f"[0-9a-f]*/{mark(TRIAL)}"):
            with suppress(OSError):
                path.unlink()

    def evidence(self, package: CompiledPackage) -> dict[str, Any] | None:
        """The stored measurements of a network; None where there is nothing that can be trusted."""
        path = package.folder / EVIDENCE
        try:
            self._check_private()
            _check_owner(path)
            document = strict_json.read_object(path)
            if document is None or document["sha256"] != _digest_of([document["body"], package.digests]):
                return None
            body: dict[str, Any] = document["body"]
        except (CannotCompile, OSError, ValueError, KeyError, TypeError):
            return None
        return body if isinstance(body, dict) else None

    def store_evidence(self, package: CompiledPackage, body: dict[str, Any]) -> None:
        """Store measurements beside a network. If the disk does not take them, the next start measures again."""
        document = {"sha256": _digest_of([body, package.digests]), "body": body}
        part = package.folder / mark("evidence")
        with suppress(OSError):
            part.write_text(strict_json.text(document, indent=1))
            part.chmod(0o600)
            part.rename(package.folder / EVIDENCE)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Make the folder and check that it is private. Raises CannotCompile, also for an OSError inside the block."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_private()
            yield
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise CannotCompile(f"the folder for compiled networks cannot be written: {reason}") from error

    def _check_private(self) -> None:
        home = self._home.stat()
        if home.st_mode & stat.S_IWOTH and not home.st_mode & stat.S_ISVTX:
            raise CannotCompile("every user may write in ZOO_HOME, so the code in it is not trusted")
        try:
            _check_owner(self._folder)
        except PermissionError:
            raise CannotCompile(
                "other users may write in the folder for compiled networks, so the code in it is not trusted"
            ) from None

    def _sweep(self) -> None:
        """Remove the networks of other formats and other versions of the compilers, the folders of dead servers, and the least
        recently used networks."""
        self._sweep_staging()
        used: list[tuple[float, Path]] = []
        for folder in self._folder.glob("[0-9a-f]*"):
            found = read_manifest(folder)
            if found is None or not found.is_of_today():
                _remove(folder)
            else:
                used.append((folder.stat().st_mtime, folder))
        for _, folder in sorted(used, reverse=True)[MAX_NETWORKS:]:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep_staging(self) -> None:
        """Remove the folders of killed servers. Called on every look-up, since a server may find all its networks and compile
        none."""
        for staging in self._folder.glob(".staging-*"):
            with suppress(OSError):  # removed meanwhile
                # The process id of a server in another container means nothing here, so the age is checked as well.
                if time.time() - staging.stat().st_mtime > ABANDONED_S and belongs_to_dead_server(staging):
                    _remove(staging)


def _digest_of(document: Any) -> str:
    return hashlib.sha256(strict_json.text(document, sort_keys=True).encode()).hexdigest()


def _remove(path: Path) -> None:
    """Remove a folder, or a file or link that stands in its place and would keep its key from ever being published."""
    if path.is_symlink() or path.is_file():
        with suppress(OSError):
            path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _check_owner(path: Path) -> None:
    """Raise PermissionError unless this user alone may write: the owner, not a link, no write permission for group and others."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(str(path))


def _removed_if_old(path: Path) -> bool:
    """Whether a mark was too old to count, and was removed."""
    try:
        old = time.time() - path.stat().st_mtime > FORGOTTEN_S
        if old:
            path.unlink()
    except OSError:  # removed meanwhile
        return True
    return old
