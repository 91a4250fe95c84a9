"""`zoo photos`: an index of the photos in a folder, and searches in it."""

from __future__ import annotations

import typer

from service.cli.commands.photos.index import index
from service.cli.commands.photos.search import search

app = typer.Typer(
    help="Find photos in a folder by words or by likeness, with the models of a server.", no_args_is_help=True
)
app.command("index")(index)
app.command("search")(search)
