"""Compiled networks on disk, so that the next start has them at once.

    ZOO_HOME/compiled/             0700: what lies here is run as it is
      <key>/  network.so           key: sha256 over all that decides the code
              manifest.json        sha256 of the library, names of its tensors, what compiling took
      .staging-<pid>-<server>-…/   what a worker is about to write; gone with its server
      inductor/, triton/           what torch compiled for a GPU, by its own keys

A folder appears by rename, complete. What is not as its manifest says is thrown away and compiled anew. Where anybody but
this user (or root) could have written, nothing is loaded at all.
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
"""Part of the key: raise it when the worker or the runtime changes what the code must be."""
KEPT = 64
"""Networks on disk; beyond it those used longest ago go."""
ABANDONED_S = 3600.0
SERVER = uuid.uuid4().hex[:8]
"""This process. Its id alone may have been that of the server before: in a container every one gets the same."""
LIBRARY, MANIFEST = "network.so", "manifest.json"


class CannotCompile(Exception):
    """Why a network stays as it is: one sentence, fit for a client."""


@dataclass(frozen=True, slots=True)
class CompilationSpec:
    """All that decides the code, save the machine and torch, which the key adds."""

    weights: str
    """sha256."""
    network: dict[str, Any]
    """What the card says of architecture, tensors, pooling and shapes."""
    precision: str
    threads: int
    """The code is written for so many threads a batch."""

    @classmethod
    def of(cls, card: Card, weights: str, precision: str, threads: int) -> CompilationSpec:
        """The recipe of a card whose weights have a digest."""
        fields = {"architecture", "keep_in_fp32", "signature", "recipe", "batching"}
        return cls(weights, card.model_dump(mode="json", include=fields), precision, threads)

    def key(self) -> str:
        """64 hex digits; the same for what may share code."""
        text = strict_json.text([FORMAT, asdict(self), torch.__version__, processor()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What a worker shall compile, and where it writes. All paths are the server's own."""

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
        """A compiled network, or None. Reads all of it; a damaged one is removed. Raises CannotCompile where not only
        this user can write."""
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
            os.utime(folder)  # used now
            names = tuple(map(str, manifest["inputs"])), tuple(map(str, manifest["outputs"]))
            return CompiledPackage(folder / LIBRARY, *names, float(manifest["compile_s"]))
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(folder, ignore_errors=True)
            return None

    def staging(self) -> Path:
        """A new folder for a worker. Raises CannotCompile where it cannot be made, or not only this user can write."""
        with self._writable():
            self._sweep()
            folder = self._folder / f".staging-{os.getpid()}-{SERVER}-{uuid.uuid4().hex[:8]}"
            folder.mkdir(mode=0o700)
        return folder

    def subfolder(self, name: str) -> Path:
        """A folder that lasts, for code that torch keeps itself. Raises CannotCompile as `staging` does."""
        with self._writable():
            folder = self._folder / name
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def publish(
        self, key: str, staging: Path, inputs: list[str], outputs: list[str], compile_s: float
    ) -> CompiledPackage:
        """Makes `network.so` of a staging folder available under its key. Raises CannotCompile."""
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
                with path.open("r+b") as handle:  # to disk before the rename that makes it count
                    os.fsync(handle.fileno())
            with suppress(OSError):  # another server of this home was faster: its code is the same
                done.rename(self._folder / key)
        except OSError as error:
            raise CannotCompile(f"the compiled network could not be stored: {error.strerror}") from error
        package = self.find(key)
        if package is None:
            raise CannotCompile("the compiled network was damaged as it was stored")
        return package

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """The folder is there and private. Raises CannotCompile, also for what fails to be written inside."""
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
            raise CannotCompile("every user may write in ZOO_HOME, so code that lies there is not trusted")
        try:
            _check_owner(self._folder)
        except PermissionError:
            raise CannotCompile(
                "others may write in the folder for compiled networks, so code that lies there is not trusted"
            ) from None

    def _sweep(self) -> None:
        """Removes what other versions of torch made, what dead servers left, and what nobody used for longest."""
        self._sweep_staging()
        used: list[tuple[float, Path]] = []
        for folder in self._folder.glob("[0-9a-f]*"):
            manifest = strict_json.read_object(folder / MANIFEST)
            if manifest is None or manifest.get("torch") != torch.__version__:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                used.append((folder.stat().st_mtime, folder))
        for _, folder in sorted(used, reverse=True)[KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep_staging(self) -> None:
        """Removes what servers that were killed left. At every look, since the next one may find all that it wants compiled."""
        for staging in self._folder.glob(".staging-*"):
            with suppress(OSError):  # gone meanwhile
                # A server in another container has a process id that means nothing here, hence the age as well.
                if time.time() - staging.stat().st_mtime > ABANDONED_S and not _serves(*staging.name.split("-")[1:3]):
                    shutil.rmtree(staging, ignore_errors=True)


def _check_owner(path: Path) -> None:
    """Raises PermissionError unless only this user can write: it is his, no link, and neither group nor others may."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(str(path))


def _serves(pid: str, server: str) -> bool:
    """Whether the server lives that has this id, in whose name `server` tells it from others that had the id before."""
    return server == SERVER if int(pid) == os.getpid() else _alive(int(pid))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
