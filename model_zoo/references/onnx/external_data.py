"""Weights of an ONNX file that lie in files beside it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from model_zoo.references.onnx.facts import Unusable
from model_zoo.sources.folder_files import stays_inside

__all__ = ["checked_external_files"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,199}")
"""Of a file in the folder of the graph: no other folder, and no hidden file."""
RESERVED = ("manifest.json", "model.onnx")
"""Files of Zoo in the folder of a model."""


def checked_external_files(tensors: Iterator[tuple[Any, int]], path: Path) -> tuple[str, ...]:
    """Names of the files that hold tensors of the graph at ``path``, in order of name.

    Args:
        tensors: those that lie in other files, and the bytes that each needs.

    Raises:
        Unusable: a file lies elsewhere, is missing, or does not hold the whole of a tensor.
    """
    found: set[str] = set()
    for tensor, needed in tensors:
        facts = {entry.key: entry.value for entry in tensor.external_data}
        name = facts.get("location", "")
        if not _NAME.fullmatch(name) or name in RESERVED or name == path.name:
            raise Unusable(
                f"the weights {tensor.name[:80]!r} lie in {name[:80]!r}, which is no file in the same folder"
            )
        _check_span(tensor, facts, path.parent / name, needed)
        found.add(name)
    return tuple(sorted(found))


def _check_span(tensor: Any, facts: Mapping[str, str], file: Path, needed: int) -> None:
    shown = f"the weights {tensor.name[:80]!r}"
    if not file.is_file() or not stays_inside(file.parent, file):
        what = "is not in the folder" if not file.exists() else "is a link to another folder, or no file"
        raise Unusable(f"{shown} lie in {file.name}, which {what}")
    size = file.stat().st_size
    try:
        offset = int(facts.get("offset") or 0)
        length = int(facts.get("length") or size - offset)
    except ValueError:
        raise Unusable(f"{shown} have no position in {file.name}") from None
    if offset < 0 or length < 0 or offset + length > size:
        raise Unusable(f"{shown} end at byte {offset + length:,} of {file.name}, which has {size:,}")
    if length != needed:
        raise Unusable(f"{shown} have {length:,} bytes in {file.name}; their shape needs {needed:,}")
