"""JSON as the zoo stores and sends it: one writer and one reader, and neither knows NaN or infinity.

Python's own writer puts ``NaN`` and ``Infinity`` into a document, which is then no JSON; pydantic's puts ``null`` there, which is
then no number. Either way the document cannot be read back, by whoever needs it next. Here the fault shows where it arises.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

__all__ = ["NotFinite", "nulled", "read", "read_model", "read_object", "text"]


class NotFinite(ValueError):
    """A document holds a figure that JSON cannot write.

    Attributes:
        path: where it stands, for example ``metrics.validation/loss`` or ``curves[3].value``.
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
        NotFinite: it holds NaN or an infinity. The error names the key path.
    """
    plain = document.model_dump(mode="json") if hasattr(document, "model_dump") else document
    try:
        return json.dumps(
            plain, indent=indent, sort_keys=sort_keys, ensure_ascii=ascii_only, separators=separators, allow_nan=False
        )
    except ValueError:
        found = _first(plain, "")
        if found is None:  # something else is wrong with it
            raise
        raise NotFinite(*found) from None


def read(data: str | bytes) -> Any:
    """A document that was written as JSON.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested too deeply, or holds a number that is not finite.
    """
    try:
        return json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise ValueError("the document is nested too deeply") from None


def read_model(kind: "type[M]", data: str | bytes) -> "M":
    """A document as a pydantic model. Raises ValueError as ``read``, and where it is no such model."""
    return kind.model_validate(read(data))


def read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if the file cannot be read or holds anything else."""
    try:
        document = read(path.read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def nulled(document: Any) -> Any:
    """A document with null in place of every figure that is not finite: for readers who are told that null means "no value"."""
    if isinstance(document, Mapping):
        return {str(key): nulled(part) for key, part in document.items()}
    if isinstance(document, list | tuple):
        return [nulled(part) for part in document]
    if not isinstance(document, str | int | float | bool | None) and hasattr(document, "item"):  # a number of numpy
        return nulled(document.item())
    return None if isinstance(document, float) and not math.isfinite(document) else document


def _first(document: Any, path: str) -> tuple[str, str] | None:
    """Path and name of the first figure that is not finite."""
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
    return next((found for name, part in parts if (found := _first(part, name)) is not None), None)


def _refuse(constant: str) -> float:
    raise ValueError(f"the document holds {constant}, which is no number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("the document holds a number that is too large")
    return number
