"""Fields of derived cards for texts, from the files of a tokenizer."""

import inspect
import re
from typing import Any

from torch import nn

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import MAX_TOKENS, Given
from model_zoo.references.common_fields import positive
from model_zoo.references.repository import Repository, config_of
from model_zoo.references.transformers.tokenizer_file import require_tokenizer_file, tokenizer_of

__all__ = [
    "TOKENIZER_FILES",
    "has_token_types",
    "mask_fields",
    "refuse_left_truncation",
    "text_batching",
    "text_inputs",
    "text_recipe",
    "tokenizer_class",
]

TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)
"""Files beside ``tokenizer.json`` that the makers' own tokenizer may read."""

_UNLIMITED = 1_000_000
"""``model_max_length`` is some huge number where the tokenizer sets no limit."""
_MOST_TOKENS = 8192
_CHARACTERS_OF_A_TOKEN = 40


def text_inputs(types: bool = False) -> list[dict[str, Any]]:
    """Token ids and their mask; `types`: and the number of the text that each token belongs to."""
    names = ("input_ids", "attention_mask", *(("token_type_ids",) if types else ()))
    return [{"name": name, "datatype": "INT64", "shape": (-1, -1)} for name in names]


def has_token_types(repository: Repository, config: dict[str, Any], network: nn.Module) -> bool:
    """Whether the makers' tokenizer numbers the texts of a pair, and the network has embeddings of these numbers."""
    if "token_type_ids" not in inspect.signature(network.forward).parameters:
        return False
    count = config.get("type_vocab_size", getattr(network.config, "type_vocab_size", 0))
    if not isinstance(count, int) or count < 2:
        return False
    settings = config_of(repository, "tokenizer_config.json")
    names: Any = settings.get("model_input_names")
    if not isinstance(names, list):
        names = getattr(tokenizer_class(config, settings), "model_input_names", ())
    return "token_type_ids" in names


def text_batching(max_tokens: int) -> dict[str, Any]:
    """Rows are padded to the longest."""
    return {"max_batch_size": 32, "cpu_batch_size": 16, "length_of": "input_ids", "max_length": max_tokens}


def text_recipe(
    repository: Repository, config: dict[str, Any], given: Given, folder: str = "", most: int | None = None
) -> dict[str, Any]:
    """The recipe of a text.

    Args:
        config: of the network: its vocabulary and its positions.
        folder: of the tokenizer inside the repository, with a slash at its end.
        most: tokens of a text, where the repository says so elsewhere.

    Raises:
        NotDerivable: there is no fast tokenizer, it pads or cuts on the left, or there is no token for padding.
    """
    require_tokenizer_file(repository, folder)
    vocabulary = positive(repository, config.get("vocab_size"), "vocab_size in config.json")
    tokenizer = tokenizer_of(repository, f"{folder}tokenizer.json", vocabulary)
    settings = config_of(repository, f"{folder}tokenizer_config.json")
    if settings.get("padding_side", "right") != "right":
        raise NotDerivable(repository.name, "its tokenizer pads on the left")
    refuse_left_truncation(repository, settings, tokenizer)
    max_tokens = _max_tokens(repository, config, settings, given, most)
    return {
        "kind": "text",
        "max_tokens": max_tokens,
        "pad_id": _pad_id(repository, config, settings, tokenizer),
        "max_characters": max(10_000, _CHARACTERS_OF_A_TOKEN * max_tokens),
    }


def refuse_left_truncation(repository: Repository, settings: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    """Raises NotDerivable for a tokenizer that cuts the beginning of a long text: by its settings, or else by its own file."""
    stated = tokenizer.get("truncation")
    of_file = stated.get("direction") if isinstance(stated, dict) else None
    side = settings.get("truncation_side", of_file) or "right"
    if str(side).lower() != "right":
        raise NotDerivable(repository.name, "its tokenizer cuts long texts on the left (truncation_side)")


def _max_tokens(
    repository: Repository, config: dict[str, Any], settings: dict[str, Any], given: Given, most: int | None
) -> int:
    said = given.settings.get(MAX_TOKENS)
    if said is not None and not re.fullmatch("[1-9][0-9]{0,6}", said):
        raise NotDerivable(repository.name, f"max_tokens is {said[:50]!r}; expected a positive whole number")
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    limits = [int(said)] if said else [most] if most else []
    length = settings.get("model_max_length")
    if not limits and isinstance(length, int | float) and length < _UNLIMITED:
        limits.append(int(length))
    if isinstance(positions, int) and positions > 0:
        # RoBERTa and its kin count positions from the one after the padding's.
        offset = int(config.get("pad_token_id") or 0) + 1 if _counts_after_padding(config) else 0
        limits.append(positions - offset)
    if not limits:
        reason = "it does not say how many tokens a text may have"
        given.ask(NotDerivable(repository.name, reason, "--set max_tokens=N"))
        return 1
    return positive(repository, min(*limits, _MOST_TOKENS), "the number of tokens of a text")


def _counts_after_padding(config: dict[str, Any]) -> bool:
    import transformers

    kind = str(config.get("model_type"))
    if kind == "mpnet":
        return True
    named = transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES.get(kind, "")
    return "oberta" in str(named) or kind in ("camembert", "data2vec-text", "longformer", "ibert", "esm")


def mask_fields(repository: Repository, config: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe for texts with masked tokens. Raises NotDerivable where no token stands for them."""
    require_tokenizer_file(repository)
    tokenizer = tokenizer_of(repository, "tokenizer.json", config["vocab_size"])
    settings = config_of(repository, "tokenizer_config.json")
    model = tokenizer.get("model") if isinstance(tokenizer.get("model"), dict) else {}
    assert isinstance(model, dict)
    token = settings.get("mask_token") or config_of(repository, "special_tokens_map.json").get("mask_token")
    token = token.get("content") if isinstance(token, dict) else token
    if not token:
        kind = tokenizer_class(config, settings)
        parameter = None if kind is None else inspect.signature(kind.__init__).parameters.get("mask_token")
        token = None if parameter is None else parameter.default
    vocabulary = model.get("vocab")
    known = dict(vocabulary) if isinstance(vocabulary, dict) else {}
    known |= _added_tokens(tokenizer)
    number = known.get(str(token)) if token else None
    if not isinstance(number, int) or not 0 <= number < config["vocab_size"]:
        raise NotDerivable(repository.name, "its tokenizer has no token that stands for a masked one (mask_token)")
    cleans = settings.get("clean_up_tokenization_spaces") is True and model.get("type") != "BPE"
    return {"mask_token": str(token), "mask_id": number, "clean_up_spaces": cleans}


def _added_tokens(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """Tokens beside the vocabulary → their numbers."""
    return {
        str(entry.get("content")): entry.get("id")
        for entry in tokenizer.get("added_tokens") or []
        if isinstance(entry, dict)
    }


def tokenizer_class(config: dict[str, Any], settings: dict[str, Any]) -> Any:
    """The library's class of a tokenizer; None if it has none of that name."""
    import transformers

    mapped: Any = transformers.models.auto.tokenization_auto.TOKENIZER_MAPPING_NAMES
    kind = settings.get("tokenizer_class") or mapped.get(str(config.get("model_type"))) or ""
    return getattr(transformers, str(kind), None)


def _pad_id(repository: Repository, config: dict[str, Any], settings: dict[str, Any], tokenizer: dict[str, Any]) -> int:
    """The token that fills shorter rows, which tokenizer and network must agree on."""
    token = settings.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    added = _added_tokens(tokenizer)
    of_tokenizer, of_network = added.get(str(token)) if token else None, config.get("pad_token_id")
    found = of_network if of_tokenizer is None else of_tokenizer
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise NotDerivable(repository.name, "neither its tokenizer nor its config.json has a token for padding")
    if found >= config["vocab_size"]:
        raise NotDerivable(
            repository.name,
            f"its token for padding is number {found}, and its network has {config['vocab_size']} tokens",
        )
    if isinstance(of_network, int) and of_network != found:
        raise NotDerivable(
            repository.name,
            f"its tokenizer pads with token {found}, and its network expects {of_network} (pad_token_id)",
        )
    return found
