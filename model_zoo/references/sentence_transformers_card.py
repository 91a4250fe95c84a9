"""Repositories of sentence-transformers: ``modules.json`` lists an encoder of transformers, its pooling, and perhaps scaling to
length 1 (Reimers and Gurevych, EMNLP 2019, arXiv:1908.10084)."""

from typing import Any

from model_zoo import strict_json
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import CardPlan, Given
from model_zoo.references.common_fields import common_fields, family_of, parameters_of, positive
from model_zoo.references.repository import Repository, check_config, config_of
from model_zoo.references.text_fields import TOKENIZER_FILES, text_batching, text_inputs, text_recipe
from model_zoo.references.transformers.network_class import architecture_fields, built
from model_zoo.references.weight_files import weight_files

__all__ = ["encoder_folder", "plan_sentence_transformers"]

_MODULES = "modules.json"
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}


def plan_sentence_transformers(repository: Repository, config: dict[str, Any], given: Given) -> CardPlan:
    """The plan of an encoder of texts. Raises NotDerivable for modules that Zoo does not have."""
    kinds = _modules(repository)
    names = [kind for kind, _ in kinds]
    if names not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise NotDerivable(
            repository.name,
            f"its modules are {', '.join(names)[:200]}; Zoo has Transformer, Pooling and then Normalize or none",
        )
    folder = encoder_folder(repository)
    config = config_of(repository, f"{folder}config.json")
    if "model_type" not in config or "auto_map" in config:
        raise NotDerivable(
            repository.name, f"{folder}config.json is none of transformers, or asks to run code (auto_map)"
        )
    for path in (f"{folder}config.json", f"{folder}sentence_bert_config.json"):
        check_config(repository, config_of(repository, path), path)
    pooling = _pooling(repository, f"{kinds[1][1]}/config.json")
    architecture = architecture_fields(repository, "AutoModel", config)
    network = built(repository, architecture["arguments"])
    width = positive(
        repository, getattr(getattr(network, "config", None), "hidden_size", None), "hidden_size in config.json"
    )
    limit = config_of(repository, f"{folder}sentence_bert_config.json").get("max_seq_length")
    recipe = text_recipe(repository, config, given, folder, limit if isinstance(limit, int) and limit > 0 else None)
    recipe |= {"pooling": pooling, "normalize": len(kinds) == 3, "prefix": _prefix(repository)}
    fields = common_fields(repository, "feature-extraction", f"Texts as {width} numbers, by {repository.name}.")
    fields |= {
        "family": family_of(network),
        "parameters": parameters_of(network),
        "weights": {"format": "safetensors", "mapping": "library"},
        "architecture": architecture,
        "raw_input": "text",
        "canonical": "raw",
        "signature": {
            "inputs": text_inputs(),
            "outputs": [{"name": "embedding", "datatype": "FP32", "shape": (-1, width)}],
        },
        "recipe": recipe,
        "batching": text_batching(recipe["max_tokens"]),
        "tolerance": {"max_abs_error": 0.0001},
    }
    roles = {
        **weight_files(repository, folder),
        "config": f"{folder}config.json",
        "tokenizer": f"{folder}tokenizer.json",
    }
    beside = [f"{folder}{name}" for name in (*TOKENIZER_FILES, "sentence_bert_config.json")]
    beside += [_MODULES, "config_sentence_transformers.json", *(f"{path}/config.json" for _, path in kinds[1:])]
    return CardPlan("sentence-transformers", fields, roles, tuple(name for name in beside if name in repository.files))


def encoder_folder(repository: Repository) -> str:
    """The folder of the encoder, with a slash at its end; empty for the repository itself, and where no list says it."""
    try:
        path = _modules(repository)[0][1]
    except (NotDerivable, IndexError):
        return ""
    return f"{path}/" if path else ""


def _modules(repository: Repository) -> list[tuple[str, str]]:
    """Kind and folder of each module, in order."""
    try:
        listed = strict_json.read(repository.read(_MODULES))
        # Folders are names of the repository's own; anything else is no file of it and is not found later.
        kinds = [(str(entry["type"]), str(entry["path"]).strip("/")) for entry in listed]
    except (ValueError, TypeError, KeyError) as error:
        raise NotDerivable(repository.name, f"{_MODULES} is not a list of modules") from error
    strange = next((kind for kind, _ in kinds if not kind.startswith("sentence_transformers.")), None)
    if strange is not None:
        raise NotDerivable(repository.name, f"{_MODULES} names {strange[:80]!r}, which is code of its own")
    return [(kind.rpartition(".")[2], path) for kind, path in kinds]


def _pooling(repository: Repository, path: str) -> str:
    found = config_of(repository, path)
    modes = [name for name, value in found.items() if name.startswith("pooling_mode_") and value is True]
    if not modes and isinstance(found.get("pooling_mode"), str):
        modes = [f"pooling_mode_{found['pooling_mode']}_token{'s' if found['pooling_mode'] == 'mean' else ''}"]
    if len(modes) != 1 or modes[0] not in _POOLINGS or found.get("include_prompt") is False:
        raise NotDerivable(
            repository.name, f"its pooling is {', '.join(modes)[:200] or 'not stated'}; Zoo has mean and cls"
        )
    return _POOLINGS[modes[0]]


def _prefix(repository: Repository) -> str:
    """The prompt that the makers put in front of every text; empty for none. Others are named by callers, which Zoo has not."""
    settings = config_of(repository, "config_sentence_transformers.json")
    name, prompts = settings.get("default_prompt_name"), settings.get("prompts")
    return str(prompts.get(name, "")) if name and isinstance(prompts, dict) else ""
