"""JSON for storage and for replies: one writer and one reader, which both refuse NaN and infinity.

Python's own writer writes ``NaN`` and ``Infinity``, which are not JSON; pydantic's writes ``null``, which is not a number. In
both cases the document cannot be read back later. Here the error is raised when the document is written.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

__all__ = ["NotFinite", "parsed_object", "read", "read_model", "read_object", "text", "validated", "with_nulls"]


class NotFinite(ValueError):
    """A document holds a number that JSON cannot represent.

    Attributes:
        path: its place, for example ``metrics.validation/loss`` or ``curves[3].value``.
    """

    def __init__(self, path: str, figure: str) -> None:
        super().__init__(f"{path or 'the document'} is {figure}; expected a finite number")
        self.path = path


def text(
    document: Any,
    *,
    indent: int | None = None,
    sort_keys: bool = False,
    ascii_only: bool = True,
    separators: tuple[str, str] | None = None,
) -> str:
    """A document as JSON: plain values, or a pydantic model.

    Raises:
        NotFinite: the document holds NaN or an infinity. The error names the key path.
    """
    plain = document.model_dump(mode="json") if hasattr(document, "model_dump") else document
    try:
        return json.dumps(
            plain, indent=indent, sort_keys=sort_keys, ensure_ascii=ascii_only, separators=separators, allow_nan=False
        )
    except ValueError:
        found = _first_not_finite(plain, "")
        if found is None:  # another fault of the document
            raise
        raise NotFinite(*found) from None


def read(data: str | bytes) -> Any:
    """Parse a JSON document.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested too deeply, or holds a number that is not finite.
    """
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None


def read_model(kind: "type[M]", data: str | bytes, *, ignore_unknown: bool = False) -> "M":
    """A document as a pydantic model. With ``ignore_unknown``, fields that the model does not have are left out.

    Raises ValueError as ``read``, and if the document does not fit the model.
    """
    return validated(kind, read(data), ignore_unknown=ignore_unknown)


def validated(kind: "type[M]", document: Any, *, ignore_unknown: bool = False) -> "M":
    """As ``read_model``, of a document that is parsed already."""
    return kind.model_validate(document, extra="ignore" if ignore_unknown else None)


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if the file cannot be read or holds anything else."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return parsed_object(data)


def parsed_object(data: bytes) -> dict[str, Any] | None:
    """The JSON object in some bytes; None if they hold anything else."""
    try:
        document = read(data)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def with_nulls(document: Any) -> Any:
    """A document with null in place of every number that is not finite, for readers to whom null means "no value"."""
    if isinstance(document, Mapping):
        return {str(key): with_nulls(part) for key, part in document.items()}
    if isinstance(document, list | tuple):
        return [with_nulls(part) for part in document]
    if not isinstance(document, str | int | float | bool | None) and hasattr(document, "item"):  # a NumPy number
        return with_nulls(document.item())
    return None if isinstance(document, float) and not math.isfinite(document) else document


def _first_not_finite(document: Any, path: str) -> tuple[str, str] | None:
    """Path and name of the first number that is not finite."""
    if isinstance(document, float) and not math.isfinite(document):
        return path, "NaN" if math.isnan(document) else "infinite"
    if isinstance(document, Mapping):
        parts = [(f"{path}.{key}" if path else str(key), part) for key, part in document.items()]
        keys = [(name, key) for (name, _), key in zip(parts, document, strict=True) if isinstance(key, float)]
        parts = keys + parts
    elif isinstance(document, list | tuple):
        parts = [(f"{path}[{i}]", part) for i, part in enumerate(document)]
    else:
        return None
    return next((found for name, part in parts if (found := _first_not_finite(part, name)) is not None), None)


def _refuse(constant: str) -> float:
    raise ValueError(f"the document holds {constant}, which is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("the document holds a number that is too large")
    return number
