"""What the source says of a class: its docstring, and the text below each field."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class FieldText:
    """A field as its class has it: the annotation as it is written, and the text below it."""

    annotation: str
    text: str


def field_texts(kind: type) -> dict[str, FieldText]:
    """The fields of a class by name, in the order of the source; without those of its bases."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, FieldText] = {}
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = FieldText(ast.unparse(node.annotation), _text(following))
    return found


def first_sentence(documented: Any) -> str:
    """The first sentence of a docstring, for a cell of a table; empty if there is none."""
    text = one_line(inspect.getdoc(documented) or "")
    end = re.search(r"\.( |$)", text)
    return text[: end.start() + 1] if end else text


def one_line(text: str) -> str:
    """A text without line breaks, doubled backquotes and bars, for a cell of a table."""
    return re.sub(r"\s+", " ", text).strip().replace("``", "`").replace("|", "\\|")


def table(*rows: tuple[str, ...]) -> str:
    """Rows as a table; the first one has the headings."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]) + "\n"


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return one_line(inspect.cleandoc(node.value.value))
    return ""
