"""Panics of libraries in Rust reach code that handles Exceptions."""

from __future__ import annotations

import asyncio

import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from model_zoo.errors import LibraryPanic, panics_as_errors


def test_panic_of_the_tokenizer_becomes_an_error() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+$"), "isolated")
    with pytest.raises(LibraryPanic), panics_as_errors():
        tokenizer.encode("a" * 30 + "b")


@pytest.mark.parametrize("order", [asyncio.CancelledError, SystemExit, KeyboardInterrupt])
def test_order_to_end_stays_what_it_is(order: type[BaseException]) -> None:
    with pytest.raises(order), panics_as_errors():
        raise order
