"""Repositories of peft: an adapter, and the network that it names.

Only adapters of LoRA that can be merged into the network's weights are taken. The files are described at
https://huggingface.co/docs/peft.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeGuard

from transformers.models.auto import modeling_auto

from model_zoo import strict_json
from model_zoo.cards.weight_source import ADAPTER_FOLDER
from model_zoo.errors import NotDerivable
from model_zoo.formats.adapters import ADAPTER
from model_zoo.references.card_plan import CardPlan
from model_zoo.references.repository import MOST_CONFIG_BYTES, ListedFile, Repository, config_of

__all__ = ["ADAPTER_CONFIG", "AdaptedRepository", "base_of", "is_adapter"]

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
MOST_ADAPTER_BYTES = 512 << 20
"""An update of few ranks is a small part of its network; one that is larger is something else."""

_CLASSES = {
    "SEQ_CLS": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "TOKEN_CLS": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES",
    "CAUSAL_LM": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "SEQ_2_SEQ_LM": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
}
"""Tasks of peft → the table of transformers with the class of network, by type of model, that its adapters belong to."""

_KNOWN = frozenset(
    {
        "alpha_pattern",
        "base_model_name_or_path",
        "bias",
        "exclude_modules",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "lora_dropout",
        "megatron_core",
        "modules_to_save",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "revision",
        "target_modules",
        "task_type",
        "use_dora",
        "use_rslora",
    }
)
"""Fields of a configuration that decide how its tensors are merged, or nothing. Any other must be empty."""

_STARTS = ("gaussian", "eva", "orthogonal", "mica")
"""Ways to begin training that leave the base as it is. PiSSA, OLoRA, CorDA and others take a part of its weights out of it."""

_NAMES = (
    "target_modules",
    "exclude_modules",
    "modules_to_save",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
)
"""Fields of names of modules."""
_NAME = re.compile(r"[A-Za-z0-9_.]{1,200}")
MOST_NAMES = 10_000
_HEADS = re.compile(r"(^|\.)(classifier|score|classifier\.out_proj)\.weight$")


def is_adapter(repository: Repository) -> bool:
    """Whether a repository holds an adapter, not a network. Raises SourceUnavailable."""
    return ADAPTER_CONFIG in repository.files


def base_of(adapter: Repository) -> tuple[str, str]:
    """The network that an adapter names, and its revision, which is empty for the main branch.

    Raises:
        NotDerivable: it is of another kind than LoRA, uses what Zoo does not have, or names no network.
    """
    config = config_of(adapter, ADAPTER_CONFIG)
    kind = str(config.get("peft_type", ""))
    if kind != "LORA":
        raise NotDerivable(adapter.name, f"it is an adapter of the kind {kind[:40]!r}; Zoo merges those of LORA")
    if config.get("auto_mapping"):
        raise NotDerivable(adapter.name, "its adapter_config.json asks for a class by name (auto_mapping)")
    if odd := sorted(name for name, value in config.items() if name not in _KNOWN and not _is_empty(value)):
        raise NotDerivable(adapter.name, f"its adapter_config.json sets {odd[0][:60]}, which Zoo does not have")
    start = config.get("init_lora_weights", True)
    if not (start is None or isinstance(start, bool) or start in _STARTS):
        raise NotDerivable(
            adapter.name,
            f"its adapter changes the weights of its base first (init_lora_weights: {str(start)[:40]!r}); Zoo merges adapters of "
            "plain LoRA, which save_pretrained of peft makes of it (path_initial_model_for_weight_conversion)",
        )
    if wrong := next((name for name in _NAMES if not _is_names(config.get(name))), ""):
        raise NotDerivable(adapter.name, f"{wrong} in its adapter_config.json is no list of names of modules")
    if ADAPTER_WEIGHTS not in adapter.files:
        raise NotDerivable(adapter.name, f"it has no {ADAPTER_WEIGHTS}, and Zoo reads weights from safetensors only")
    if (size := adapter.files[ADAPTER_WEIGHTS].size) > MOST_ADAPTER_BYTES:
        raise NotDerivable(adapter.name, f"{ADAPTER_WEIGHTS} has {size:,} bytes, more than {MOST_ADAPTER_BYTES:,}")
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise NotDerivable(adapter.name, "its adapter_config.json names no base (base_model_name_or_path)")
    return base, str(config.get("revision") or "")


def _is_names(value: object) -> bool:
    """Whether a field holds plain names. peft takes other texts for regular expressions, which can run for ever."""
    if value is None or value == "all-linear":
        return True
    names = list(value) if isinstance(value, list | dict) else [value]
    return len(names) <= MOST_NAMES and all(isinstance(name, str) and _NAME.fullmatch(name) for name in names)


class AdaptedRepository:
    """The files of a network, with its configuration as an adapter changes it, and those of the adapter below ``adapter/``."""

    def __init__(self, adapter: Repository, base: Repository) -> None:
        self._adapter, self._base = adapter, base
        self.name = adapter.name

    @property
    def files(self) -> Mapping[str, ListedFile]:
        """See Repository."""
        own = {f"{ADAPTER_FOLDER}{path}": self._adapter.files[path] for path in (ADAPTER_CONFIG, ADAPTER_WEIGHTS)}
        return {**self._base.files, **own}

    @property
    def licence(self) -> str:
        """See Repository. Of both."""
        return f"adapter: {self._adapter.licence}; network: {self._base.licence}"

    @property
    def task(self) -> str:
        """See Repository."""
        return self._adapter.task or self._base.task

    def read(self, path: str, most: int = MOST_CONFIG_BYTES) -> bytes:
        """See Repository."""
        if path.startswith(ADAPTER_FOLDER):
            return self._adapter.read(path.removeprefix(ADAPTER_FOLDER), most)
        if path == "config.json":
            return strict_json.text(self._config()).encode()
        return self._base.read(path, most)

    def start(self, path: str, count: int) -> bytes:
        """See Repository."""
        if path.startswith(ADAPTER_FOLDER):
            return self._adapter.start(path.removeprefix(ADAPTER_FOLDER), count)
        return self._base.start(path, count)

    def planned(self, plan: CardPlan) -> CardPlan:
        """The plan with the files of the adapter. Raises NotDerivable for a network of another library."""
        if plan.library != "transformers":
            raise NotDerivable(
                self.name, f"its base is a network of {plan.library}; Zoo merges adapters of transformers"
            )
        roles = {
            **plan.roles,
            ADAPTER: f"{ADAPTER_FOLDER}{ADAPTER_WEIGHTS}",
            "adapter_config": f"{ADAPTER_FOLDER}{ADAPTER_CONFIG}",
        }
        return replace(plan, roles=roles)

    def _config(self) -> dict[str, Any]:
        """The network's configuration, for the class that the adapter was trained with."""
        config = config_of(self._base, "config.json")
        wanted = str(config_of(self._adapter, ADAPTER_CONFIG).get("task_type"))
        if wanted not in _CLASSES:
            tasks = ", ".join(_CLASSES)
            raise NotDerivable(self.name, f"its adapter is for the task {wanted[:40]!r} of peft; Zoo has {tasks}")
        kind = str(config.get("model_type"))
        named = dict(getattr(modeling_auto, _CLASSES[wanted])).get(kind)
        if named is None:
            raise NotDerivable(
                self.name, f"transformers has no network of the type {kind[:80]!r} for the task {wanted} of peft"
            )
        config["architectures"] = [named if isinstance(named, str) else named[0]]
        if wanted in ("SEQ_CLS", "TOKEN_CLS"):
            config |= self._classes(config)
        return config

    def _classes(self, config: dict[str, Any]) -> dict[str, Any]:
        """Fields of the classes: by the adapter's own ``config.json`` if it has one, else by the shape of its head."""
        own = config_of(self._adapter, "config.json")
        if "id2label" in own:
            return {"id2label": own["id2label"], "label2id": own.get("label2id", {})}
        counts = {shape[0] for name, shape in self._shapes().items() if _HEADS.search(name) and len(shape) == 2}
        if len(counts) != 1:
            return {}
        (count,) = counts
        known = config.get("id2label")
        if isinstance(known, dict) and len(known) == count:
            return {}
        return {"num_labels": count, "id2label": None, "label2id": None}

    def _shapes(self) -> dict[str, list[int]]:
        """Shapes of the adapter's tensors, from the header of its file, which alone is read. Raises NotDerivable."""
        length = int.from_bytes(self._adapter.start(ADAPTER_WEIGHTS, 8), "little")
        header = None
        if length <= MOST_CONFIG_BYTES:
            header = strict_json.parsed_object(self._adapter.start(ADAPTER_WEIGHTS, 8 + length)[8:])
        if header is None:
            raise NotDerivable(self.name, f"{ADAPTER_WEIGHTS} is no safetensors file")
        found = {name: entry.get("shape") for name, entry in header.items() if isinstance(entry, dict)}
        return {name: shape for name, shape in found.items() if _is_shape(shape)}


def _is_shape(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and bool(value) and all(type(size) is int and size > 0 for size in value)


def _is_empty(value: object) -> bool:
    """Whether a field has no effect: nothing, false, zero, or a container of nothing. `runtime_config` is such a container."""
    if isinstance(value, dict):
        return all(_is_empty(inner) for inner in value.values())
    return not value
