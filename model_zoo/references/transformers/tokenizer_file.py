"""``tokenizer.json``, the file of a fast tokenizer, examined before any text is read by it.

A tokenizer replaces parts of a text one rule after another. A file with rules that each double what the rule before wrote would
make gigabytes of a few characters, and the library of tokenizers ends the process when it gets no memory.
"""

from collections.abc import Iterator
from typing import Any

from model_zoo import strict_json
from model_zoo.errors import NotDerivable
from model_zoo.references.repository import Repository

__all__ = ["require_tokenizer_file", "tokenizer_of"]

_MOST_BYTES = 64 << 20
MOST_GROWTH = 16
"""Characters that all rules together may make of one. Published tokenizers replace one character by one."""
MOST_ADDED = 64
"""Special tokens that a tokenizer may put around a text."""


_SLOW = ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
"""Vocabularies from which the library makes a fast tokenizer."""


def require_tokenizer_file(repository: Repository, folder: str = "") -> None:
    """Raises NotDerivable where there is no file of a fast tokenizer, and says how one is made from an earlier vocabulary.

    Zoo does not make it: the card pins what the makers published, and no file of theirs would be what is served.
    """
    if f"{folder}tokenizer.json" in repository.files:
        return
    reason = "it has no tokenizer.json, the file of a fast tokenizer"
    slow = next((name for name in _SLOW if f"{folder}{name}" in repository.files), "")
    if slow:
        reason += f"; transformers makes one of its {slow}, in a copy of the repository: "
        reason += "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER), then zoo pull local:FOLDER"
    raise NotDerivable(repository.name, reason)


def tokenizer_of(repository: Repository, path: str, vocabulary: int) -> dict[str, Any]:
    """The content of the file.

    Args:
        vocabulary: token ids of the network.

    Raises:
        NotDerivable: it is not a JSON object, makes texts very much longer, or has tokens that the network does not have.
        SourceUnavailable: it cannot be read.
    """
    tokenizer = strict_json.parsed_object(repository.read(path, _MOST_BYTES))
    if tokenizer is None:
        raise NotDerivable(repository.name, "tokenizer.json is not a JSON object")
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        growth = 1.0
        for rule in _rules(tokenizer.get(part)):
            growth *= _growth(rule)
            if not growth <= MOST_GROWTH:
                raise NotDerivable(
                    repository.name, f"the {part} in tokenizer.json makes texts more than {MOST_GROWTH} times as long"
                )
    added = sum(1 for rule in _rules(tokenizer.get("post_processor")) if "SpecialToken" in rule)
    if added > 2 * MOST_ADDED:  # of a text alone and of a pair
        raise NotDerivable(repository.name, f"tokenizer.json puts more than {MOST_ADDED} tokens around a text")
    for token, number in _numbers(tokenizer):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < vocabulary:
            reason = f"the token {str(token)[:50]!r} in tokenizer.json has the number {str(number)[:20]}"
            expected = f"expected 0 to {vocabulary - 1:,}, by vocab_size in config.json"
            raise NotDerivable(repository.name, f"{reason}; {expected}")
    return tokenizer


def _numbers(tokenizer: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """All tokens with their numbers: those of the vocabulary, and those beside it."""
    model = tokenizer.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(vocabulary, dict):
        yield from vocabulary.items()
    elif isinstance(vocabulary, list):  # pieces with their scores, in the order of their numbers
        yield from ((piece, number) for number, piece in enumerate(vocabulary))
    for entry in tokenizer.get("added_tokens") or []:
        if isinstance(entry, dict):
            yield entry.get("content"), entry.get("id")


def _rules(part: Any) -> Iterator[dict[str, Any]]:
    """All objects inside a part, in the order in which they are applied. Without recursion: a file may be nested deeply."""
    left = [part]
    while left:
        here = left.pop()
        if isinstance(here, dict):
            yield here
            left += reversed(list(here.values()))
        elif isinstance(here, list):
            left += reversed(here)


def _growth(rule: dict[str, Any]) -> float:
    """Characters that a rule makes of one, at most."""
    match rule:
        case {"type": "Replace", "content": str(content), "pattern": {"String": str(replaced)}}:
            # Nothing stands between all characters.
            return max(1.0, len(content) / len(replaced)) if replaced else 1.0 + len(content)
        case {"type": "Replace", "content": str(content)}:
            return 1.0 + len(content) if len(content) > 1 else 1.0  # a pattern may match one character, or none
        case {"type": "Prepend", "prepend": str(content)}:
            return 1.0 + len(content)
    return 1.0
