"""Arguments that both commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _not_blank(value: str) -> str:
    if not value.strip():
        raise typer.BadParameter("is empty; give a folder")
    return value


Folder = Annotated[
    str,
    typer.Argument(metavar="DIR", callback=_not_blank, help="A folder of photos; folders in it are searched too."),
]
IndexFile = Annotated[
    Path | None,
    typer.Option(
        "--index",
        metavar="FILE",
        help="File of the index. Default: one in ZOO_HOME, by the path of the folder.",
        show_default=False,
    ),
]


def index_path(given: Path | None, folder: Path) -> Path:
    """Where the index of a folder is."""
    from service.cli.photos.photo_index import index_file
    from service.settings import load_settings

    return index_file(load_settings().home, folder) if given is None else given.absolute()
