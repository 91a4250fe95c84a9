"""All that decides the code of a compiled network, and the order to a compile worker."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import model_zoo
from model_zoo import strict_json
from model_zoo.cards.card import Card
from service.runtime.environment import compiler_version, processor

FORMAT = 6
"""Part of the key: raise it when a worker or a runtime needs other code. Networks of other formats are removed."""


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
    compiler: str = "aotinductor"
    version: str = ""
    """Of the compiler, where it is not a part of torch."""
    calibration: str = ""
    """The quantiser with its version, and the sha256 of its inputs; empty where the network is not quantised."""
    modules: str = ""
    """Of the modules that build networks: see `digest_of_modules`."""

    @classmethod
    def of(
        cls,
        card: Card,
        weights: str,
        precision: str,
        threads: int,
        compiler: str = "aotinductor",
        calibration: str = "",
    ) -> CompilationSpec:
        """The specification of a card whose weights have this digest."""
        fields = {"architecture", "keep_in_fp32", "signature", "recipe", "batching"}
        parts = card.model_dump(mode="json", include=fields)
        made_by = compiler_version(compiler)
        return cls(weights, parts, precision, threads, compiler, made_by, calibration, digest_of_modules())

    def key(self) -> str:
        """64 hex digits; equal for networks that may share code."""
        text = strict_json.text([FORMAT, asdict(self), torch.__version__, processor()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@cache
def digest_of_modules() -> str:
    """sha256 of the sources of `model_zoo/architectures` and of the versions of the libraries that build networks: another
    release may compute other things with the same card and the same weights."""
    folder = Path(model_zoo.__file__).parent / "architectures"
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    for library in ("timm", "torchvision", "transformers"):
        try:
            digest.update(f"{library} {version(library)}\n".encode())
        except PackageNotFoundError:
            continue
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """The input of a compile worker: the network and the folder for its output. The server chooses all paths."""

    card: dict[str, Any]
    weights: str
    precision: str
    threads: int
    staging: str
    compiler: str = "aotinductor"
    calibration: bool = False
    """Whether the folder has the inputs by which the network is quantised (`calibration.py`)."""
