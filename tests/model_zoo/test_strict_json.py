"""Stored and sent JSON holds finite numbers only; one writer ensures this."""

from __future__ import annotations

import ast
import math
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from model_zoo import strict_json

REPOSITORY = Path(__file__).resolve().parents[2]
WRITER = REPOSITORY / "model_zoo" / "strict_json.py"
CHECKS_ONLY = {REPOSITORY / "service" / "wire" / "structured.py"}
"""Encodes a caller's value to check whether it is text, and discards the result."""


class Figures(BaseModel):
    value: float
    by_name: dict[str, float] = {}


@pytest.mark.parametrize("figure", [math.nan, math.inf, -math.inf])
def test_number_that_is_not_finite_is_rejected_with_its_path(figure: float) -> None:
    with pytest.raises(
        strict_json.NotFinite, match=r"^metrics\.validation/loss is (NaN|infinite); expected a finite number"
    ):
        strict_json.text({"metrics": {"accuracy": 0.5, "validation/loss": figure}})
    with pytest.raises(strict_json.NotFinite, match=r"^curves\[1\]\.value is"):
        strict_json.text({"curves": [{"value": 1.0}, {"value": figure}]})
    with pytest.raises(strict_json.NotFinite, match=r"^by_name\.a is"):
        strict_json.text(Figures(value=1.0, by_name={"a": figure}))
    with pytest.raises(strict_json.NotFinite, match=r"^the document is"):
        strict_json.text(figure)
    with pytest.raises(strict_json.NotFinite):
        strict_json.text({figure: 1})


def test_read_returns_the_written_document() -> None:
    document = {"a": [1, 2.5, None, True], "é": {"b": "c"}, "large": 1.7976931348623157e308}
    for ascii_only in (True, False):
        assert strict_json.read(strict_json.text(document, indent=1, ascii_only=ascii_only)) == document
    assert strict_json.read_model(Figures, strict_json.text(Figures(value=2.0))) == Figures(value=2.0)


@pytest.mark.parametrize(
    "damaged",
    ["", "{", "NaN", '{"a": Infinity}', '{"a": [1e999]}', b"\xff\xfe", "[" * 100_000, '{"a": -1e400}', "{} {}"],
    ids=["empty", "cut", "nan", "infinity", "overflow", "no text", "deep", "negative overflow", "two"],
)
def test_read_of_invalid_json_raises_value_error(damaged: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.read(damaged)
    with pytest.raises(ValueError, match=r"."):
        strict_json.read_model(Figures, damaged)


def test_with_nulls_replaces_numbers_that_are_not_finite() -> None:
    document = {"a": math.nan, "b": [1.0, np.float32("inf")], "c": {"d": np.int64(3)}, "e": ("x", None)}
    assert strict_json.with_nulls(document) == {"a": None, "b": [1.0, None], "c": {"d": 3}, "e": ["x", None]}


def writes_json(source: str) -> list[int]:
    """Lines that write JSON without strict_json."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            strict = any(k.arg == "allow_nan" and ast.unparse(k.value) == "False" for k in node.keywords)
            if called in ("json.dumps", "json.dump", "dumps", "dump") and not strict:
                found.append(node.lineno)
            if called.rpartition(".")[2] in ("model_dump_json", "to_json", "MessageToJson", "safe_dump", "JSONEncoder"):
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
            if names & {"orjson", "ujson", "to_json"} or (isinstance(node, ast.ImportFrom) and node.module == "json"):
                found.append(node.lineno)
    return found


def test_no_module_writes_json_without_strict_json() -> None:
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{line}"
        for root in ("service", "model_zoo")
        for path in sorted((REPOSITORY / root).rglob("*.py"))
        if path != WRITER and path not in CHECKS_ONLY and "pb" not in path.parent.parts
        for line in writes_json(path.read_text(encoding="utf-8"))
    ]
    assert not wrong, f"these write JSON without strict_json.text: {', '.join(wrong)}"


@pytest.mark.parametrize(
    "line",
    [
        "json.dumps(x)",
        "json.dump(x, file, allow_nan=True)",
        "model.model_dump_json(indent=1)",
        "from json import dumps",
        "yaml.safe_dump(x)",
        "import orjson",
        "pydantic_core.to_json(x)",
    ],
)
def test_line_that_writes_json_otherwise_is_detected(line: str) -> None:
    assert writes_json(line)


class Choice(StrEnum):
    ONE = "one"


class Chosen(BaseModel):
    model_config = ConfigDict(extra="forbid")

    choice: Choice = Choice.ONE
    parts: list[Part] = []


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = 0


@pytest.mark.parametrize("document", ['{"colour": 1}', '{"choice": "two"}', '{"parts": [{"size": 1, "colour": 2}]}'])
def test_document_with_unknown_fields_or_choices_is_rejected(document: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.read_model(Chosen, document)


def test_new_fields_are_left_out_where_they_may_be() -> None:
    read = strict_json.read_model(Chosen, '{"parts": [{"size": 1, "colour": 2}], "colour": 3}', ignore_unknown=True)
    assert read == Chosen(parts=[Part(size=1)])
