"""Rules of ``generation_config.json``, examined before they reach the library, which fails on a wrong one while it writes."""

import math
from collections.abc import Mapping
from typing import Any

from model_zoo.errors import NotDerivable
from model_zoo.references.repository import Repository

__all__ = ["check_rules"]

_ONE = ("bos_token_id", "pad_token_id")
_FIRST = ("decoder_start_token_id", "forced_bos_token_id")
_SEVERAL = ("eos_token_id", "suppress_tokens", "begin_suppress_tokens")
_LISTS = ("bad_words_ids",)
_COUNTS = ("no_repeat_ngram_size", "min_length", "min_new_tokens")
_NONE = -1
"""Number that stands for no token."""
_MOST = 1_000_000
"""Tokens of a count, and the greatest factor."""


def check_rules(repository: Repository, rules: Mapping[str, Any], path: str, vocabulary: int) -> None:
    """Raises NotDerivable for a rule whose value the library cannot use; other fields are not looked at.

    Args:
        rules: by the names of the library's GenerationConfig; None is no rule.
        path: of the file that states them.
        vocabulary: token ids of the network.
    """
    for name, value in rules.items():
        if value is not None and (expected := _expected(name, value, vocabulary)):
            raise NotDerivable(repository.name, f"{name} in {path} is {repr(value)[:60]}; expected {expected}")


def _expected(name: str, value: Any, vocabulary: int) -> str:
    """What a rule should be; empty where it is that."""
    last = vocabulary - 1
    if name in _ONE and not _is_whole(value, _NONE, last):
        return f"a token, 0 to {last:,}"
    if name in _FIRST and not _is_whole(value, 0, last):
        return f"a token, 0 to {last:,}"
    if name in _SEVERAL and not all(
        _is_whole(one, _NONE, last) for one in (value if isinstance(value, list) else [value])
    ):
        return f"tokens, 0 to {last:,}"
    if name in _LISTS and not (isinstance(value, list) and all(_is_word(word, last) for word in value)):
        return f"lists of tokens, 0 to {last:,}"
    if name in _COUNTS and not _is_whole(value, 0, _MOST):
        return f"a whole number from 0 to {_MOST:,}"
    if name == "repetition_penalty" and not _is_factor(value):
        return f"a positive number, at most {_MOST:,}"
    return ""


def _is_whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_word(value: Any, last: int) -> bool:
    return isinstance(value, list) and bool(value) and all(_is_whole(one, 0, last) for one in value)


def _is_factor(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 < value <= _MOST
