"""Fields of derived cards for networks that write text: the recipe of a prompt, and what decides the likeliest token."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from model_zoo.errors import NotDerivable
from model_zoo.references.card_plan import MAX_TOKENS, Given
from model_zoo.references.common_fields import positive
from model_zoo.references.repository import Repository, config_of
from model_zoo.references.text_fields import refuse_left_truncation
from model_zoo.references.transformers.generation_rules import check_rules
from model_zoo.references.transformers.tokenizer_file import require_tokenizer_file, tokenizer_of

__all__ = [
    "GENERATION",
    "NEUTRAL_RULES",
    "dropped_rules",
    "generation_settings",
    "name_dropped",
    "prompt_recipe",
    "token_numbers",
]

GENERATION = "generation_config.json"

_UNLIMITED = 1_000_000
"""``model_max_length`` is some huge number where the tokenizer sets no limit."""
_MOST_TOKENS = 2048
"""Of a prompt, where a user asks for no other number: the keys and values of a batch are in memory together."""
_MOST_NEW_TOKENS, _NEW_TOKENS = 256, 64
"""Of an answer: a batch occupies its lane until its longest answer is written."""
_CHARACTERS_OF_A_TOKEN = 40

_ANY = ("eos_token_id", "bos_token_id", "bad_words_ids", "suppress_tokens", "begin_suppress_tokens")
_DECODER = (
    "decoder_start_token_id",
    "forced_bos_token_id",
    "no_repeat_ngram_size",
    "repetition_penalty",
    "min_length",
    "min_new_tokens",
)
"""Rules on the tokens before: they hold for a decoder of its own only. A prompt that is padded with others would change them."""

NEUTRAL_RULES: dict[str, Any] = {
    "no_repeat_ngram_size": 0,
    "repetition_penalty": 1,
    "min_length": 0,
    "min_new_tokens": 0,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1,
    "exponential_decay_length_penalty": None,
    "sequence_bias": None,
    "guidance_scale": 1,
    "stop_strings": None,
    "watermarking_config": None,
    "remove_invalid_values": False,
    "num_beams": 1,
    "penalty_alpha": 0,
}
"""Fields of the library's GenerationConfig that may change a text that is written without chance → the value without effect."""


def generation_settings(repository: Repository, config: dict[str, Any], continues: bool) -> dict[str, Any]:
    """Fields of the library's GenerationConfig that change which token is the likeliest. Raises NotDerivable.

    They come from generation_config.json, or from config.json where there is none, as the library reads them.
    """
    stated = config_of(repository, GENERATION) or config
    kept = {name: stated.get(name) for name in (_ANY if continues else (*_ANY, *_DECODER))}
    found = {name: value for name, value in kept.items() if value is not None}
    vocabulary = _vocabulary(repository, config)
    padding = {"pad_token_id": stated.get("pad_token_id")}
    check_rules(repository, found | padding, "config.json" if stated is config else GENERATION, vocabulary)
    if padding["pad_token_id"] is None:
        check_rules(repository, {"pad_token_id": config.get("pad_token_id")}, "config.json", vocabulary)
    stops = token_numbers(found.get("eos_token_id"))
    pad = next((n for n in (*token_numbers(stated.get("pad_token_id"), config.get("pad_token_id")), *stops)), 0)
    found |= {"pad_token_id": pad}
    if not continues and not token_numbers(found.get("decoder_start_token_id")):
        start = token_numbers(config.get("decoder_start_token_id"), found.get("bos_token_id"))
        if not start:
            raise NotDerivable(repository.name, "it does not say with which token an answer begins")
        check_rules(repository, {"decoder_start_token_id": start[0]}, "config.json", vocabulary)
        found["decoder_start_token_id"] = start[0]
    return found


def dropped_rules(
    repository: Repository,
    config: dict[str, Any],
    kept: dict[str, Any],
    neutral: Mapping[str, Any] = NEUTRAL_RULES,
) -> list[str]:
    """Fields that change what the library writes for the makers of the network, and that are not among those that are ``kept``.

    Args:
        neutral: the fields, with the value that has no effect.
    """
    stated = config_of(repository, GENERATION) or config
    values = ((name, (None, value)) for name, value in neutral.items() if name not in kept)
    return [name for name, without in values if stated.get(name) not in without]


def name_dropped(fields: dict[str, Any], dropped: Sequence[str]) -> tuple[str, ...]:
    """The notes of a plan about rules that Zoo does not use; they are put into the provenance of its card as well."""
    if not dropped:
        return ()
    fields["provenance"] += f" Not used of its rules for writing: {', '.join(dropped)}."
    return (f"its makers' rules for writing are not used: {', '.join(dropped)}",)


def prompt_recipe(
    repository: Repository, config: dict[str, Any], given: Given, generation: dict[str, Any], continues: bool
) -> dict[str, Any]:
    """The recipe of a prompt. Raises NotDerivable where there is no fast tokenizer, or no limit of length."""
    require_tokenizer_file(repository)
    vocabulary = _vocabulary(repository, config)
    tokenizer = tokenizer_of(repository, "tokenizer.json", vocabulary)
    if (
        not continues
    ):  # of a prompt that is continued the end is kept, by Zoo and in the comparison, whatever the files say
        refuse_left_truncation(repository, config_of(repository, "tokenizer_config.json"), tokenizer)
    stops = token_numbers(generation.get("eos_token_id"))
    most, new = _lengths(repository, config, given, continues)
    return {
        "kind": "prompt",
        "continues": continues,
        "max_tokens": most,
        "pad_id": generation["pad_token_id"],
        "stop_ids": tuple(stops),
        "max_characters": max(10_000, _CHARACTERS_OF_A_TOKEN * most),
        "default_new_tokens": min(_NEW_TOKENS, new),
        "most_new_tokens": new,
    }


def _vocabulary(repository: Repository, config: dict[str, Any]) -> int:
    return positive(repository, config.get("vocab_size"), "vocab_size in config.json")


def _lengths(repository: Repository, config: dict[str, Any], given: Given, continues: bool) -> tuple[int, int]:
    """The most tokens of a prompt, and of an answer. A network that continues has its positions for both together."""
    said = given.settings.get(MAX_TOKENS)
    if said is not None and not re.fullmatch("[1-9][0-9]{0,6}", said):
        raise NotDerivable(repository.name, f"max_tokens is {said[:50]!r}; expected a positive whole number")
    positions = config.get("max_position_embeddings", config.get("n_positions"))
    limit = config_of(repository, "tokenizer_config.json").get("model_max_length")
    limits = [positions] if isinstance(positions, int) and positions > 0 else []
    if isinstance(limit, int | float) and 0 < limit < _UNLIMITED:
        limits.append(int(limit))
    if not limits and said is None:
        reason = "it does not say how many tokens a text may have"
        given.ask(NotDerivable(repository.name, reason, "--set max_tokens=N"))
    length = min(limits) if limits else _UNLIMITED
    new = min(_MOST_NEW_TOKENS, max(1, length // 2))
    room = length - new if continues else length
    if room < 1:
        raise NotDerivable(repository.name, f"it has {length:,} positions, too few for a prompt and an answer")
    return min(room, _MOST_TOKENS if said is None else int(said)), new


def token_numbers(*found: Any) -> list[int]:
    """Token ids among values that may be a number, a list of them, or anything else."""
    flat = [one for value in found for one in (value if isinstance(value, list) else [value])]
    return [one for one in flat if isinstance(one, int) and not isinstance(one, bool) and one >= 0]
