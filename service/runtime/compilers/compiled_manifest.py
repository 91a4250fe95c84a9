"""`manifest.json` of a compiled network: what made it, and its files, or the reason for which a compiler refuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from model_zoo import strict_json
from service.runtime.compilers.compilation_spec import FORMAT
from service.runtime.environment import compiler_version

MANIFEST = "manifest.json"
LIBRARY, GRAPH, WEIGHTS = "network.so", "network.xml", "network.bin"
FILES: dict[str, tuple[str, ...]] = {"aotinductor": (LIBRARY,), "openvino": (GRAPH, WEIGHTS)}
"""The files that each compiler writes."""
MOST_REASON = 300
"""Characters of a reason, which clients see."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Made(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: int
    compiler: Literal["aotinductor", "openvino"]
    version: str
    torch: str

    def is_of_today(self) -> bool:
        """Whether this server would make it with the same compiler."""
        made = (self.format, self.version, self.torch)
        return made == (FORMAT, compiler_version(self.compiler), torch.__version__)


class Manifest(_Made):
    """Of a network."""

    files: dict[str, Digest]
    """sha256 by name."""
    inputs: list[str]
    outputs: list[str]
    compile_s: float = Field(ge=0, allow_inf_nan=False)


class Refusal(_Made):
    """Of a network that the compiler cannot convert."""

    refused: str = Field(min_length=1, max_length=MOST_REASON)
    """One sentence, fit for a client."""


_EITHER: TypeAdapter[Manifest | Refusal] = TypeAdapter(Manifest | Refusal)


def read_manifest(folder: Path) -> Manifest | Refusal | None:
    """The manifest in a folder; None where there is none that can be read."""
    document = strict_json.read_object(folder / MANIFEST)
    try:
        found = None if document is None else _EITHER.validate_python(document)
    except (ValidationError, OverflowError):
        return None
    if isinstance(found, Manifest) and {*found.files} != {*FILES[found.compiler]}:
        return None
    return found


def manifest(compiler: str, files: dict[str, str], inputs: list[str], outputs: list[str], compile_s: float) -> Manifest:
    """Of a network that was made now."""
    document = {"files": files, "inputs": inputs, "outputs": outputs, "compile_s": compile_s}
    return Manifest.model_validate(_made_now(compiler) | document)


def refusal(compiler: str, reason: str) -> Refusal:
    """Of a network that was refused now."""
    return Refusal.model_validate(_made_now(compiler) | {"refused": reason[:MOST_REASON]})


def _made_now(compiler: str) -> dict[str, object]:
    return {
        "format": FORMAT,
        "compiler": compiler,
        "version": compiler_version(compiler),
        "torch": str(torch.__version__),
    }
