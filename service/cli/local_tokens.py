"""`zoo token --local`: tokens in the database of a server on this machine, without the server.

It needs no token: whoever may write the server's database and home is its operator.
"""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TypeVar

from model_zoo import strict_json
from service.access.audit import FILE, AuditEvent, AuditLog
from service.access.principal import ANYONE
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.token_service import TokenService
from service.access.token_store import Token, TokenStore
from service.access.tokens import Secret
from service.database import Database, DatabaseError, database_url
from service.settings import SettingsError, load_settings

T = TypeVar("T")
CREATOR = "local"
PAGE = 500


def create(
    principal: str, scopes: list[str], models: list[str], limits: Limits, expires: float | None
) -> tuple[Token, Secret]:
    """Makes a token. Raises SettingsError, InvalidInput."""

    async def work(tokens: TokenService) -> tuple[Token, Secret]:
        chosen = [Scope(scope) for scope in scopes]
        return await tokens.create(principal, chosen, models=models, limits=limits, expires=expires, creator=CREATOR)

    made = _with_tokens(work)
    _record("CreateToken", made[0].id, _detail(made[0]))
    return made


def list_all(principal: str) -> list[Token]:
    """The tokens, the newest first. Raises SettingsError."""

    async def work(tokens: TokenService) -> list[Token]:
        found, after = list[Token](), ""
        while True:
            page = await tokens.list(PAGE, after, principal)
            found += page.tokens
            if not (after := page.next):
                return found

    return _with_tokens(work)


def revoke(token_id: str) -> Token:
    """Ends a token. Raises SettingsError, NotFound."""
    revoked = _with_tokens(lambda tokens: tokens.revoke(token_id))
    _record("RevokeToken", token_id, {})
    return revoked


def _detail(token: Token) -> dict[str, str]:
    """What the server's own record of a new token says."""
    limits = {name: value for name, value in asdict(token.limits).items() if value}
    moment = None if token.expires is None else datetime.fromtimestamp(token.expires, UTC)
    found = {
        "principal": token.principal,
        "scopes": ", ".join(f"SCOPE_{scope.name}" for scope in Scope if scope in token.scopes),
        "models": ", ".join(token.models),
        "limits": strict_json.text(limits) if limits else "",
        "expires": "" if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}",
    }
    return {key: text for key, text in found.items() if text}


def _with_tokens(work: Callable[[TokenService], Awaitable[T]]) -> T:
    """The result of `work` on the database that the settings of this shell name."""
    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True)

    async def run() -> T:
        database = Database(database_url(settings.database_url, settings.home))
        try:
            await database.open()
            return await work(TokenService(TokenStore(database)))
        finally:
            await asyncio.to_thread(database.close)

    try:
        return asyncio.run(run())
    except DatabaseError as error:
        raise SettingsError(f"{'ZOO_DATABASE_URL' if settings.database_url else 'ZOO_HOME'}: {error}") from None


def _record(action: str, token_id: str, detail: dict[str, str]) -> None:
    settings = load_settings()
    if settings.audit_log == "off":
        return
    audit = AuditLog(settings.home / FILE)
    audit.start()
    audit.record(AuditEvent(action, f"token/{token_id}", "OK", ANYONE, CREATOR, getpass.getuser(), detail))
    audit.stop()
