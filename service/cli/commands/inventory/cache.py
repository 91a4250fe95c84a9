"""`zoo cache`: the weights and downloads under ZOO_HOME."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.exit_codes import FAILED
from service.cli.options import Json, has_subcommand
from service.cli.rendering.console import (
    escaped,
    new_table,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
)
from service.cli.rendering.formatting import format_size

if TYPE_CHECKING:
    from model_zoo.inventory.cache import CacheItem

IN_USE = 2
"""Exit code if a server or a pull uses the home, so that nothing was removed."""
_DIGITS = 12
"""Of a digest, in tables; --json has all."""

app = typer.Typer(help="List and prune the weights and downloads on this machine.", invoke_without_command=True)


@app.callback()
def cache(ctx: typer.Context, as_json: Json = False) -> None:
    """List the weights and downloads on this machine, and what uses them."""
    if not has_subcommand(ctx):
        list_cache(as_json)


@app.command("list")
def list_cache(as_json: Json = False) -> None:
    """List the weights and downloads on this machine, and what uses them."""
    from model_zoo.inventory.cache import cache_items
    from service.settings import load_settings

    home = load_settings().home
    items = cache_items(home)
    if as_json:
        print_json({"home": str(home), "items": [_document(item) for item in items]})
        return
    print_note(f"the cache of {home}")
    _print(items)
    total, unused = sum(item.bytes for item in items), sum(item.bytes for item in items if not item.users)
    print_line(f"{format_size(total)} in all, {format_size(unused)} of it unused")


@app.command("prune")
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove weights that no card and no version uses, and what broken pulls left. No server may run on this ZOO_HOME."""
    from model_zoo.inventory.cache import cache_items, remove_item
    from service.doctor.checkup import HomeInUseError, exclusive_access
    from service.settings import load_settings

    settings = load_settings()
    home = settings.home.absolute()
    removed: list[CacheItem] = []
    if dry_run or not home.is_dir():
        removed = [item for item in cache_items(home) if not item.users]
    else:
        try:
            with exclusive_access(home, settings.database_url):
                for item in cache_items(home):
                    if not item.users:
                        remove_item(item)
                        removed.append(item)
        except HomeInUseError as error:
            print_error(str(error))
            raise typer.Exit(IN_USE) from None
        except OSError as error:
            print_error(f"nothing more can be removed: {(error.strerror or 'unknown reason').lower()}")
            raise typer.Exit(FAILED) from None
    if as_json:
        print_json({"home": str(home), "dry_run": dry_run, "removed": [_document(item) for item in removed]})
        return
    if removed:
        _print(removed)
    size = format_size(sum(item.bytes for item in removed))
    print_line(f"{size} would be freed" if dry_run else f"freed {size}" if removed else "nothing is unused")


def _print(items: list[CacheItem]) -> None:
    rows = new_table("kind", "name", "digest", "size", "used by", right=("size",))
    for item in items:
        users = ", ".join(item.users) or "nothing"
        rows.add_row(item.kind, escaped(item.name), item.digest[:_DIGITS], format_size(item.bytes), escaped(users))
    print_table(rows)


def _document(item: CacheItem) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "name": item.name,
        "path": str(item.path),
        "digest": item.digest,
        "bytes": item.bytes,
        "used_by": list(item.users),
    }
