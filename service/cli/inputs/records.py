"""Records: a picture with a row of columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from service.cli.inputs.input_source import InputSource
from service.cli.inputs.known_columns import KnownColumns
from service.cli.inputs.paths import PICTURES

IMAGE = "image"
"""The usual name of the column of the picture."""


def record_source(
    name: str, cells: dict[str, Any], folder: Path, columns: KnownColumns, image_column: str = ""
) -> InputSource:
    """A record from `{"image": path, "row": {…}}`, or from one object that holds the path and the row's columns.

    `folder`: where paths of pictures begin. `image_column`: the column of the picture, if it is known. Otherwise the picture is
    in the column that it had in training, in `image`, or in the only column that holds the name of a picture.
    """
    pictures = [key for key, cell in cells.items() if isinstance(cell, str) and Path(cell).suffix.lower() in PICTURES]
    key = image_column or columns.column_of_role("image", tuple(cells)) or (IMAGE if IMAGE in cells else "")
    key = key or (pictures[0] if len(pictures) == 1 else IMAGE)
    image = cells.get(key)
    if not isinstance(image, str) or not image:
        return InputSource(name, problem=f"names no picture: expected its path as {IMAGE!r}")
    row = cells.get("row")
    if not isinstance(row, dict):
        row = {column: cell for column, cell in cells.items() if column != key}
    return InputSource(name, {IMAGE: folder / image.strip(), "row": columns.select_inputs(row)})
