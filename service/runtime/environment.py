"""The conditions that decide the last digits of an answer: versions of libraries, instructions of the processor."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata
from typing import Any

import torch

from model_zoo import strict_json


def processor() -> dict[str, Any]:
    """The properties of the processor that decide compiled code: its make and its instructions."""
    facts = torch.cpu.get_capabilities()
    return {name: value for name, value in sorted(facts.items()) if not name.startswith(("num_", "l1", "l2", "l3"))}


@cache
def compiler_version(compiler: str) -> str:
    """The installed version of a compiler that is not a part of torch; empty for one that is, and where it is missing.

    `compiler` may name two, as of `RuntimeByRows`.
    """
    if "openvino" not in compiler:
        return ""
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        return ""


@cache
def environment_fingerprint() -> str:
    """12 hex digits; equal on machines where the same network gives the same answers."""
    text = strict_json.text([str(torch.__version__), processor()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
