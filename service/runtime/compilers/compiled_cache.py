"""Compiled networks on disk, so that the next start loads them at once.

    ZOO_HOME/compiled/             mode 0700: the code here is executed
      <key>/  network.so           key: sha256 of all that decides the code
              manifest.json        sha256 of the library, names of its tensors, seconds of the compilation
      .staging-<pid>-<server>-…/   the output of a worker that is running; removed with its server
      inductor/, triton/           code that torch compiled for a GPU, under its own keys

A folder appears by rename, complete. A folder that differs from its manifest is removed and compiled again. If any user but
this one (or root) could have written here, nothing is loaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from model_zoo import strict_json
from model_zoo.cards.card import Card
from model_zoo.sources.digest import sha256_of_file
from service.runtime.environment import processor

FORMAT = 4
"""Part of the key: raise it when the worker or the runtime needs other code."""
MAX_NETWORKS = 64
"""On disk; the least recently used are removed."""
ABANDONED_S = 3600.0
SERVER = uuid.uuid4().hex[:8]
"""Identifies this process. The process id is not enough: in a container every server may have the same one."""
LIBRARY, MANIFEST = "network.so", "manifest.json"


class CannotCompile(Exception):
    """A network is not compiled. The text is the reason, one sentence, fit for a client."""


@dataclass(frozen=True, slots=True)
class CompilationSpec:
    """All inputs that decide the code. The key adds the machine and torch's version."""

    weights: str
    """sha256."""
    network: dict[str, Any]
    """The parts of the card on architecture, tensors, pooling and shapes."""
    precision: str
    threads: int
    """Threads of a batch; the code is specific to their number."""

    @classmethod
    def of(cls, card: Card, weights: str, precision: str, threads: int) -> CompilationSpec:
        """The specification of a card whose weights have this digest."""
        fields = {"architecture", "keep_in_fp32", "signature", "recipe", "batching"}
        return cls(weights, card.model_dump(mode="json", include=fields), precision, threads)

    def key(self) -> str:
        """64 hex digits; equal for networks that may share code."""
        text = strict_json.text([FORMAT, asdict(self), torch.__version__, processor()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """The input of a compile worker: the network and the folder for its output. The server chooses all paths."""

    card: dict[str, Any]
    weights: str
    precision: str
    threads: int
    staging: str


@dataclass(frozen=True, slots=True)
class CompiledPackage:
    """A compiled network on disk, its digest checked."""

    library: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    compile_s: float
    """Seconds that the compilation took."""


class CompiledCache:
    """The folder `compiled` of a home. Threads and processes may share it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / "compiled"

    def find(self, key: str) -> CompiledPackage | None:
        """A compiled network, or None. The whole file is read; a damaged network is removed.

        Raises:
            CannotCompile: another user may write into the folder.
        """
        folder = self._folder / key
        if not self._folder.is_dir():
            return None
        self._check_private()
        self._sweep_staging()
        manifest = strict_json.read_object(folder / MANIFEST)
        try:
            if manifest is None:
                raise ValueError
            _check_owner(folder)
            _check_owner(folder / LIBRARY)
            if sha256_of_file(folder / LIBRARY) != manifest["sha256"]:
                raise ValueError
            os.utime(folder)  # marks it as used now
            names = tuple(map(str, manifest["inputs"])), tuple(map(str, manifest["outputs"]))
            return CompiledPackage(folder / LIBRARY, *names, float(manifest["compile_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            _remove(folder)
            return None

    def staging(self) -> Path:
        """A new folder for a worker. Raises CannotCompile if it cannot be made, or another user may write into it."""
        with self._writable():
            self._sweep()
            folder = self._folder / f".staging-{os.getpid()}-{SERVER}-{uuid.uuid4().hex[:8]}"
            folder.mkdir(mode=0o700)
        return folder

    def subfolder(self, name: str) -> Path:
        """A permanent folder for code that torch manages itself. Raises CannotCompile as `staging` does."""
        with self._writable():
            folder = self._folder / name
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def publish(
        self, key: str, staging: Path, inputs: list[str], outputs: list[str], compile_s: float
    ) -> CompiledPackage:
        """Make `network.so` of a staging folder available under its key. Raises CannotCompile."""
        done = staging / "done"
        try:
            done.mkdir(mode=0o700)
            library = done / LIBRARY
            (staging / LIBRARY).rename(library)
            library.chmod(0o600)
            document = {
                "sha256": sha256_of_file(library),
                "inputs": inputs,
                "outputs": outputs,
                "compile_s": compile_s,
                "torch": torch.__version__,
            }
            for path, text in ((done / MANIFEST, strict_json.text(document, indent=1)), (library, None)):
                if text is not None:
                    path.write_text(text)
                with path.open("r+b") as handle:  # to disk before the rename that publishes it
                    os.fsync(handle.fileno())
            with suppress(OSError):  # another server of this home has published the same code first
                done.rename(self._folder / key)
        except OSError as error:
            raise CannotCompile(f"the compiled network could not be stored: {error.strerror}") from error
        package = self.find(key)
        if package is None:
            raise CannotCompile("the compiled network was damaged while it was stored")
        return package

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
        """Remove the networks of other versions of torch, the folders of dead servers, and the least recently used networks."""
        self._sweep_staging()
        used: list[tuple[float, Path]] = []
        for folder in self._folder.glob("[0-9a-f]*"):
            manifest = strict_json.read_object(folder / MANIFEST)
            if manifest is None or manifest.get("torch") != torch.__version__:
                shutil.rmtree(folder, ignore_errors=True)
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
                if time.time() - staging.stat().st_mtime > ABANDONED_S and not _server_lives(
                    *staging.name.split("-")[1:3]
                ):
                    shutil.rmtree(staging, ignore_errors=True)


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


def _server_lives(pid: str, server: str) -> bool:
    """Whether the server with this process id lives; `server` distinguishes this process from an earlier one with the same id."""
    return server == SERVER if int(pid) == os.getpid() else _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
