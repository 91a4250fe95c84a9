"""A tokenizer that would make gigabytes of a few characters is refused before any text is read by it."""

from __future__ import annotations

from typing import Any

import pytest

from model_zoo.errors import NotDerivable
from model_zoo.references.transformers.tokenizer_file import MOST_ADDED, MOST_GROWTH, tokenizer_of
from tests.support.references.fake_repository import FakeRepository


def replace(content: str, string: str | None = "x") -> dict[str, Any]:
    pattern = {"Regex": "."} if string is None else {"String": string}
    return {"type": "Replace", "pattern": pattern, "content": content}


def read(document: object) -> dict[str, Any]:
    return tokenizer_of(FakeRepository({"tokenizer.json": document}), "tokenizer.json", 50)


@pytest.mark.parametrize("part", ["normalizer", "pre_tokenizer", "decoder"])
@pytest.mark.parametrize(
    "rules",
    [
        [replace("xx")] * 5,
        [replace("x" * (MOST_GROWTH + 1))],
        [replace("x" * 9, "")] * 2,
        [replace("xx", None)] * 3,
        [{"type": "Sequence", "normalizers": [replace("xx")] * 3}, replace("xxx")],
        [{"type": "Prepend", "prepend": "▁" * MOST_GROWTH}],
    ],
)
def test_rules_that_multiply_a_text_are_refused(part: str, rules: list[dict[str, Any]]) -> None:
    with pytest.raises(NotDerivable, match=f"the {part} in tokenizer.json makes texts more than 16 times as long"):
        read({part: {"type": "Sequence", "rules": rules}})


@pytest.mark.parametrize(
    "rules",
    [
        [replace("▁", " ")] * 50,
        [replace("y", None)] * 50,
        [replace("", " ")],
        [{"type": "Prepend", "prepend": "▁"}, replace("▁", " ")],
        [replace("...", "…"), replace("''", '"')],
    ],
)
def test_rules_of_published_tokenizers_are_taken(rules: list[dict[str, Any]]) -> None:
    assert read({"normalizer": {"type": "Sequence", "normalizers": rules}, "decoder": None})


def test_very_many_tokens_around_a_text_are_refused() -> None:
    single = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}] * (2 * MOST_ADDED + 1)
    with pytest.raises(NotDerivable, match="more than 64 tokens around a text"):
        read({"post_processor": {"type": "TemplateProcessing", "single": single}})


@pytest.mark.parametrize("document", [[], "text", 3])
def test_file_that_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(NotDerivable, match="is not a JSON object"):
        read(document)


@pytest.mark.parametrize(
    "document",
    [
        {"model": {"vocab": {"a": 0, "far": 50}}},
        {"model": {"vocab": {"far": -1}}},
        {"model": {"vocab": {"far": "3"}}},
        {"model": {"vocab": [["a", -1.0]] * 50 + [["far", -2.0]]}},
        {"model": {"vocab": {}}, "added_tokens": [{"content": "far", "id": 50}]},
    ],
)
def test_token_that_the_network_does_not_have_is_refused_by_name(document: object) -> None:
    with pytest.raises(NotDerivable, match=r"the token .*far.* in tokenizer\.json has the number .*; expected 0 to 49"):
        read(document)
