"""Bounds of the configuration of a network, checked before a library builds the network: it may come from a stranger."""

from collections.abc import Mapping
from typing import Any

__all__ = ["config_fault"]

MOST_LAYERS, MOST_SIZE = 1_000, 100_000_000
"""Greatest numbers of a configuration: of its layers, and of anything else. Some length limits are a hundred million."""

BUILT_IN = ("eager", "sdpa", "grouped_mm", "batched_mm")
"""Ways to compute attention and experts that are part of torch and transformers. Others may fetch and run code: transformers
takes `org/name` for compiled code on a hub, and names such as `flash_attention_2` stand for it too."""

_LABELS = ("id2label", "label2id")
_NUMBERS = ("dtype", "torch_dtype")
_KINDS_OF_NUMBERS = (
    "auto",
    *("float16", "bfloat16", "float32", "float64", "half", "float", "double"),
    *("int8", "uint8", "int16", "int32", "int64"),
)


def config_fault(found: object, path: str = "", where: str = "") -> str:
    """The first fault of a configuration: sizes that no network has, or computation by code that Zoo does not have.

    Args:
        found: a value as JSON has it.
        path: of the value.
        where: words behind the path, such as `` in config.json``.

    Returns:
        A sentence that begins with the path of the field; empty if there is no fault.
    """
    key = path.rpartition(".")[2]
    if "implementation" in key:
        return _implementation_fault(found, path, where)
    if key in _NUMBERS and not isinstance(found, Mapping):
        return _numbers_fault(found, path, where)
    if isinstance(found, Mapping):
        if key in _LABELS:
            return ""  # names of classes may be any words
        inner = ((value, f"{path}.{name}" if path else str(name)) for name, value in found.items())
        return next((fault for value, own in inner if (fault := config_fault(value, own, where))), "")
    if isinstance(found, list | tuple):
        if _counts_modules(key) and sum(value for value in found if isinstance(value, int)) > MOST_LAYERS:
            return f"{path[:100]}{where} adds up to more than {MOST_LAYERS:,} layers"
        return next((fault for value in found if (fault := config_fault(value, path, where))), "")
    if isinstance(found, int) and not isinstance(found, bool):
        most = MOST_LAYERS if _counts_modules(key) else MOST_SIZE
        if abs(found) > most:
            return f"{path[:100]}{where} is {str(found)[:20]}; expected at most {most:,}"
    return ""


def _numbers_fault(found: Any, path: str, where: str) -> str:
    if found is None or (isinstance(found, str) and found.removeprefix("torch.") in _KINDS_OF_NUMBERS):
        return ""
    expected = ", ".join(_KINDS_OF_NUMBERS[1:5])
    return f"{path[:100]}{where} is {str(found)[:80]!r}; expected one of {expected}"


def _implementation_fault(found: Any, path: str, where: str) -> str:
    """A map has an implementation for each part of the network."""
    values = list(found.values()) if isinstance(found, Mapping) else [found]
    wrong = [value for value in values if not (value is None or isinstance(value, bool) or value in BUILT_IN)]
    if not wrong:
        return ""
    return f"{path[:100]}{where} is {str(wrong[0])[:80]!r}; expected one of {', '.join(BUILT_IN)}, which fetch no code"


def _counts_modules(key: str) -> bool:
    """Whether a field says how many parts of a network there are, each of which becomes an object."""
    return any(word in key for word in ("layer", "depth", "block", "stage", "group", "expert", "branch", "repeat"))
