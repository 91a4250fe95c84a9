"""Which arguments a card may give to timm's factory: those of the network, and none that name files or places to fetch from."""

from collections.abc import Mapping
from typing import Any

__all__ = ["forbidden"]

_OF_THE_FACTORY = frozenset(
    {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_strict", "checkpoint_path", "cache_dir"}
    | {"scriptable", "exportable", "no_jit", "features_only", "out_indices", "feature_cls", "block_args"}
)
_PLACES = ("hf-hub:", "hf_hub:", "local-dir:", "timm/")


def forbidden(arguments: Mapping[str, Any]) -> str:
    """Name of the first argument that a card may not give; empty if there is none."""
    name = arguments.get("model_name")
    if not isinstance(name, str) or name.startswith(_PLACES) or "/" in name or ":" in name:
        return "model_name"
    return next((key for key in arguments if key in _OF_THE_FACTORY), "")
