"""`zoo token`: makes, lists and revokes the tokens of a server."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.cli.connection import connect
from service.cli.options import DEFAULT_SERVER, Json, Server
from service.cli.rendering.console import (
    escaped,
    new_table,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
)
from service.cli.rendering.formatting import format_age, jsonable

if TYPE_CHECKING:
    from service.access.token_store import Token as StoredToken
    from service.client import Token

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the tokens that callers bring.")

SCOPES = ("infer", "models", "finetune", "admin", "metrics")
_ID = re.compile(r"[0-9a-f]{16}")
_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

Local = Annotated[
    bool,
    typer.Option(
        "--local",
        help="Work on the database of ZOO_HOME or ZOO_DATABASE_URL on this machine, without a server or a token.",
    ),
]


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text.strip())
    if found is None or not int(found[1]):
        problem = f"expected a number and s, m, h, d or w, for example 30d, got {text!r}"
        raise typer.BadParameter(problem, param_hint="--expires-in")
    return float(int(found[1]) * _UNIT_S[found[2]])


@app.command("create")
def create(
    principal: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Whose calls they are: a person or a program.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", metavar="SCOPE", help=f"What the token permits: {', '.join(SCOPES)}; may be repeated."),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model", metavar="PATTERN", help="Models that it permits, as 'cat*'; may be repeated. Default: all."
        ),
    ] = None,
    expires_in: Annotated[str, typer.Option(metavar="TIME", help="When it ends: 12h, 30d, 52w. Default: never.")] = "",
    requests_per_second: Annotated[float, typer.Option(metavar="N", min=0, help="Most calls a second.")] = 0.0,
    rows_per_second: Annotated[float, typer.Option(metavar="N", min=0, help="Most rows of inference a second.")] = 0.0,
    concurrent_requests: Annotated[int, typer.Option(metavar="N", min=0, help="Most calls at once.")] = 0,
    jobs: Annotated[int, typer.Option(metavar="N", min=0, help="Most jobs that have not ended.")] = 0,
    datasets: Annotated[int, typer.Option(metavar="N", min=0, help="Most datasets.")] = 0,
    dataset_mib: Annotated[int, typer.Option(metavar="N", min=0, help="Most MiB of all datasets.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the token to this new file, readable by you alone.")
    ] = None,
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """Make a token and print it. It is shown once: the server keeps only its digest."""
    for scope in scopes:
        if scope not in SCOPES:
            raise typer.BadParameter(f"expected one of {', '.join(SCOPES)}, got {scope!r}", param_hint="--scope")
    expires = time.time() + _duration(expires_in) if expires_in else None
    if out is not None:
        _reserve(out)
    limits: dict[str, Any] = {
        "requests_per_second": requests_per_second,
        "rows_per_second": rows_per_second,
        "concurrent_requests": concurrent_requests,
        "jobs": jobs,
        "datasets": datasets,
        "dataset_mib": dataset_mib,
    }
    if local:
        from service.access.rate_limits import Limits
        from service.cli import local_tokens

        stored, made = local_tokens.create(principal, scopes, models or [], Limits(**limits), expires)
        token_id, secret = stored.id, made.text
    else:
        from service.client import TokenLimits

        moment = None if expires is None else datetime.fromtimestamp(expires, UTC)
        with connect(server) as client:
            new = client.create_token(
                principal,
                scopes,
                models=models or [],
                limits=TokenLimits(**limits),
                expires=moment,
            )
        token_id, secret = new.token.id, new.secret
    if out is not None:
        _write(out, secret, token_id)
    if as_json:
        print_json({"id": token_id, "principal": principal, **({} if out else {"secret": secret})})
    elif out is not None:
        print_line(f"token {token_id} of {principal} is in {out}")
    else:
        print_note(f"token {token_id} of {principal}; it is not shown again")
        print_line(secret)
    if models and not local:
        _note_unknown(models, server)


@app.command("list")
def list_tokens(
    principal: Annotated[str, typer.Option(metavar="NAME", help="List only tokens of this principal.")] = "",
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """List tokens, the newest first, without their secrets."""
    rows: list[dict[str, Any]]
    if local:
        from service.cli import local_tokens

        rows = [_stored_row(token) for token in local_tokens.list_all(principal)]
    else:
        with connect(server) as client:
            rows = [_row(token) for token in client.tokens(principal=principal)]
    if as_json:
        print_json({"tokens": jsonable(rows)})
        return
    if not rows:
        print_note("there are no such tokens" if principal else "there are no tokens")
        return
    table = new_table("id", "principal", "scopes", "models", "limits", "created", "state")
    for row in rows:
        limits = ", ".join(f"{name} {value:g}" for name, value in row["limits"].items() if value)
        cells = (row["id"], row["principal"], ", ".join(row["scopes"]), ", ".join(row["models"]) or "all", limits)
        table.add_row(*map(escaped, cells), format_age(row["created"]), _state(row))
    print_table(table)


@app.command("revoke")
def revoke(
    token_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids of tokens, as `zoo token list` shows them.")
    ],
    local: Local = False,
    server: Server = DEFAULT_SERVER,
    as_json: Json = False,
) -> None:
    """End tokens for ever."""
    for token_id in token_ids:
        if not _ID.fullmatch(token_id):
            problem = f"expected the id of a token, 16 digits of 0-9 and a-f as `zoo token list` shows it, got {token_id[:64]!r}"
            raise typer.BadParameter(problem, param_hint="ID")
    ended = list(_revoked(token_ids, local, server))
    if as_json:
        print_json({"revoked": ended})
        return
    for token_id, principal in ended:
        print_line(f"token {token_id} of {principal} is revoked")


@app.command("whoami")
def whoami(server: Server = DEFAULT_SERVER, as_json: Json = False) -> None:
    """Show whom the server takes you for, and what you may do."""
    with connect(server) as client:
        found = client.identity()
    if as_json:
        print_json(jsonable(found))
    elif not found.principal:
        print_line("the server asks for no tokens; everyone who can connect may do everything")
    else:
        until = "" if found.expires is None else f", until {found.expires:%Y-%m-%d %H:%M} UTC"
        print_line(f"{found.principal}, by token {found.token_id}{until}")
        print_line(f"scopes: {', '.join(found.scopes)}; models: {', '.join(found.models) or 'all'}")


def _note_unknown(patterns: list[str], server: str) -> None:
    """Says which patterns match no model of the server: a slip, or a model that is still to come."""
    from service.client import ZooClientError

    try:
        with connect(server) as client:
            names = [model.name for model in client.models()]
    except ZooClientError:  # the token is made, which matters more
        return
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            print_note(f"no model of the server is called {pattern!r} yet")


def _revoked(token_ids: Iterable[str], local: bool, server: str) -> Iterable[tuple[str, str]]:
    if local:
        from service.cli import local_tokens

        for token_id in token_ids:
            stored = local_tokens.revoke(token_id)
            yield stored.id, stored.principal
        return
    with connect(server) as client:
        for token_id in token_ids:
            token = client.revoke_token(token_id)
            yield token.id, token.principal


def _reserve(path: Path) -> None:
    """Makes the empty file before there is a token, which would be lost if it could not be written."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise typer.BadParameter(f"cannot make {str(path)!r}: {reason}", param_hint="--out") from None


def _write(path: Path, secret: str, token_id: str) -> None:
    try:
        path.write_text(f"{secret}\n")
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        print_error(f"cannot write {str(path)!r}: {reason}; revoke the token {token_id}")
        raise typer.Exit(1) from None


def _row(token: Token) -> dict[str, Any]:
    shown: dict[str, Any] = jsonable(token)
    return {**shown, "created": token.created, "expires": token.expires, "revoked": token.revoked}


def _stored_row(token: StoredToken) -> dict[str, Any]:
    from dataclasses import asdict

    def moment(seconds: float | None) -> datetime | None:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

    return {
        "id": token.id,
        "principal": token.principal,
        "scopes": sorted(token.scopes),
        "models": token.models,
        "limits": asdict(token.limits),
        "created": moment(token.created),
        "expires": moment(token.expires),
        "revoked": moment(token.revoked),
        "creator": token.creator,
    }


def _state(row: dict[str, Any]) -> str:
    if row["revoked"] is not None:
        return f"revoked {format_age(row['revoked'])}"
    if row["expires"] is None:
        return "valid"
    return "expired" if row["expires"] <= datetime.now(UTC) else f"valid until {row['expires']:%Y-%m-%d %H:%M} UTC"
