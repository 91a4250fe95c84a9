"""Fields of derived cards for texts, from the files of a tokenizer."""

import re
from typing import Any

from model_zoo import strict_json
from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import Given
from model_zoo.references.common_fields import positive
from model_zoo.references.repository import Repository, config_of

__all__ = ["TOKENIZER_FILES", "text_batching", "text_inputs", "text_recipe"]

TOKENIZER_FILES = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
)
"""Files beside ``tokenizer.json`` that the makers' own tokenizer may read."""

_MOST_TOKENIZER_BYTES = 64 << 20
_UNLIMITED = 1_000_000
"""``model_max_length`` is some huge number where the tokenizer sets no limit."""
_MOST_TOKENS = 8192
_CHARACTERS_OF_A_TOKEN = 40


def text_inputs() -> list[dict[str, Any]]:
    """Token ids and their mask."""
    return [{"name": name, "datatype": "INT64", "shape": (-1, -1)} for name in ("input_ids", "attention_mask")]


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
        NotDerivable: there is no fast tokenizer, it pads on the left, or there is no token for padding.
    """
    path = f"{folder}tokenizer.json"
    if path not in repository.files:
        raise NotDerivable(repository.name, "it has no tokenizer.json, the file of a fast tokenizer")
    tokenizer = strict_json.parsed_object(repository.read(path, _MOST_TOKENIZER_BYTES))
    if tokenizer is None:
        raise NotDerivable(repository.name, "tokenizer.json is not a JSON object")
    settings = config_of(repository, f"{folder}tokenizer_config.json")
    if settings.get("padding_side", "right") != "right":
        raise NotDerivable(repository.name, "its tokenizer pads on the left")
    max_tokens = _max_tokens(repository, config, settings, given, most)
    positive(repository, config.get("vocab_size"), "vocab_size in config.json")
    return {
        "kind": "text",
        "max_tokens": max_tokens,
        "pad_id": _pad_id(repository, config, settings, tokenizer),
        "max_characters": max(10_000, _CHARACTERS_OF_A_TOKEN * max_tokens),
    }


def _max_tokens(
    repository: Repository, config: dict[str, Any], settings: dict[str, Any], given: Given, most: int | None
) -> int:
    said = given.settings.get("max_tokens")
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
        raise NotDerivable(repository.name, "it does not say how many tokens a text may have", "--set max_tokens=N")
    return positive(repository, min(*limits, _MOST_TOKENS), "the number of tokens of a text")


def _counts_after_padding(config: dict[str, Any]) -> bool:
    import transformers

    kind = str(config.get("model_type"))
    if kind == "mpnet":
        return True
    named = transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES.get(kind, "")
    return "oberta" in str(named) or kind in ("camembert", "data2vec-text", "longformer", "ibert", "esm")


def _pad_id(repository: Repository, config: dict[str, Any], settings: dict[str, Any], tokenizer: dict[str, Any]) -> int:
    """The token that fills shorter rows, which tokenizer and network must agree on."""
    token = settings.get("pad_token")
    token = token.get("content") if isinstance(token, dict) else token
    added = {
        str(entry.get("content")): entry.get("id")
        for entry in tokenizer.get("added_tokens") or []
        if isinstance(entry, dict)
    }
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
