"""Tokenizers that models share in memory: a vocabulary takes megabytes, a head on it kilobytes."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

from tokenizers import Tokenizer

_lock = threading.Lock()
_shared: WeakValueDictionary[tuple[str, int, str, str], SharedTokenizer] = WeakValueDictionary()


class SharedTokenizer:
    """A tokenizer that truncates and does not pad. It lives as long as a task holds it; its settings must not change."""

    def __init__(self, path: Path, max_tokens: int, side: Literal["left", "right"], strategy: str) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens, direction=side, strategy=strategy)


def shared_tokenizer(
    path: Path, max_tokens: int, side: Literal["left", "right"] = "right", strategy: str = "longest_first"
) -> SharedTokenizer:
    """The tokenizer of a file, truncating at `max_tokens` on this side. The file must not change. Callable from any thread.

    `strategy`: which text of a pair is cut, `longest_first` or `only_first`.
    """
    key = str(path), max_tokens, side, strategy
    with _lock:
        found = _shared.get(key)
        if found is None:
            found = _shared[key] = SharedTokenizer(path, max_tokens, side, strategy)
        return found
