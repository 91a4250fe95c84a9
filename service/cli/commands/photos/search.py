"""`zoo photos search`: photos of an indexed folder, by words or by likeness."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.commands.photos.arguments import Folder, IndexFile, index_path
from service.cli.connection import connect
from service.cli.options import DEFAULT_SERVER, Json, Server
from service.cli.rendering.console import escaped, new_table, print_json, print_note, print_table, quoted

if TYPE_CHECKING:
    from service.cli.photos.queries import Found

MOST_PHOTOS = 10_000


def search(
    folder: Folder,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORDS",
            help="Words that must all fit: cat, dogs, 'tiger cat', bird, vehicle, food.",
            show_default=False,
        ),
    ] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="PHOTO", help="Rank by likeness to a photo, of the folder or not.", show_default=False),
    ] = None,
    free_words: Annotated[
        bool, typer.Option("--free-words", help="Compare with any words, by the CLIP-like model of the index.")
    ] = False,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, max=MOST_PHOTOS, help="Most photos to show, best first.")
    ] = 20,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Leave out photos with a lower score. Default: 0.1 for labels.", show_default=False
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page with thumbnails of what was found.", show_default=False),
    ] = None,
    index_file: IndexFile = None,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Find photos of an indexed folder. A server is called only for free words, and for a photo that is not in the index."""
    from service.cli.photos.contact_sheet import write_contact_sheet
    from service.cli.photos.photo_index import existing_index
    from service.cli.photos.queries import search_like, search_words
    from service.cli.photos.scan import real_folder

    given = [word for word in words or [] if word.strip()]
    if bool(given) == (like is not None):
        raise typer.BadParameter("give either words or --like PHOTO", param_hint="WORDS")
    if free_words and not given:
        raise typer.BadParameter("it needs words", param_hint="--free-words")
    if threshold is not None and math.isnan(threshold):
        raise typer.BadParameter("expected a number", param_hint="--threshold")
    real = real_folder(Path(folder))
    limits: dict[str, Any] = {"top": top, "threshold": threshold, "connect": lambda: connect(server)}
    with existing_index(index_path(index_file, real), real) as index:
        by_words = partial(search_words, index, given, free=free_words)
        found = (by_words if like is None else partial(search_like, index, like))(**limits)
    query = f"like {like}" if like is not None else " ".join(given)
    if html is not None:
        about = f"{len(found.photos):,} photos by {found.how} of {found.model.name}, best first"
        write_contact_sheet(html, query, about, real, found.photos)
        print_note(f"contact sheet: {html}")
    if as_json:
        print_json(_document(folder, given, like, found))
    else:
        _print(folder, query, found)


def _document(folder: str, words: list[str], like: Path | None, found: Found) -> dict[str, Any]:
    """The document of `--json`."""
    return {
        "folder": folder,
        "words": words,
        "like": None if like is None else str(like),
        "by": found.how,
        "model": {"name": found.model.name, "version": found.model.version},
        "score": found.score,
        "note": found.note,
        "photos": [
            {
                "photo": match.name,
                "path": str(Path(folder) / match.path),
                "score": match.score,
                "labels": [{"name": name, "score": score} for name, score in match.labels],
            }
            for match in found.photos
        ],
    }


def _print(folder: str, query: str, found: Found) -> None:
    if found.note:
        print_note(found.note)
    if not found.photos:
        print_note(f"no photo fits {quoted(query)}; a lower --threshold may find some")
        return
    rows = new_table(found.score, "photo", "labels", right=(found.score,))
    for match in found.photos:
        labels = ", ".join(f"{name} {score:.2f}" for name, score in match.labels)
        rows.add_row(f"{match.score:.3f}", escaped(Path(folder) / match.name), escaped(labels))
    print_table(rows)
