"""Composition of access: tokens, the guard of the wire, and the audit log.

`server.py` constructs it with everything else, starts it before the ports answer, and stops it after them.
"""

from __future__ import annotations

import asyncio

from service.access import first_token
from service.access.audit import FILE, AuditLog
from service.access.authenticator import Authenticator, UnknownToken
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.token_service import TokenService
from service.access.token_store import TokenStore
from service.database import Database
from service.errors import NotReady, ZooError
from service.observability.log import logger
from service.settings import Settings, SettingsError
from service.wire.access.audited import Audit
from service.wire.access.guard import Guard
from service.wire.access.method_scopes import REFLECTION
from service.wire.zoo_v1.access import AccessServicer

log = logger(__name__)

LOOKUP_S = 5.0
"""Longest time that a scrape waits for its token to be looked up."""
ADMIN_NAME = "admin"
"""Principal of the first token."""


class AccessControl:
    """Construct, `await start()`, `await stop()`."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._store = TokenStore(database)
        self._required = settings.tokens == "required"
        self._authenticator: Authenticator | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        if self._required:
            defaults = Limits(
                requests_per_second=settings.requests_per_second,
                rows_per_second=settings.rows_per_second,
                concurrent_requests=settings.concurrent_requests,
                datasets=settings.datasets_per_owner,
                dataset_mib=settings.dataset_mib_per_owner,
            )
            self._authenticator = Authenticator(self._store, defaults, settings.token_cache_s)
        self._log = AuditLog(settings.home / FILE) if settings.audit_log == "on" else None
        self.audit = Audit(self._log)
        self.guard = Guard(self._authenticator, REFLECTION if settings.reflection == "open" else frozenset())
        self.servicer = AccessServicer(TokenService(self._store, self._refresh), required=self._required)

    async def start(self) -> None:
        """Reads the tokens, and makes the first one where a setting asks for it. Raises SettingsError."""
        self._loop = asyncio.get_running_loop()
        if self._log is not None:
            self._log.start()
        if self._authenticator is None:
            return
        if self._settings.admin_token_file is not None:
            await self._add_first_token()
        await self._authenticator.refresh()
        self._authenticator.follow(self._settings.follow_interval_s)
        if not (await self._store.list(1)).tokens:
            log.warning(
                "no token exists, so nobody can call; `zoo token create NAME --scope admin --local --out FILE` on this machine, "
                "with ZOO_HOME and ZOO_DATABASE_URL as the server has them, makes the first one"
            )

    async def stop(self) -> None:
        """Writes what is left of the audit log."""
        if self._authenticator is not None:
            self._authenticator.stop()
        if self._log is not None:
            await asyncio.to_thread(self._log.stop)

    def audit_lines_lost(self) -> float:
        """Audited actions whose lines could not be written."""
        return 0.0 if self._log is None else float(self._log.lost)

    def may_read_metrics(self, authorization: str | None, peer: str) -> ZooError | None:
        """Why a scrape is refused; None where it is allowed. `peer`: as gRPC names it. From any thread."""
        if self._authenticator is None:
            return None
        headers = () if authorization is None else (authorization,)
        try:
            try:
                principal = self._authenticator.authenticate(headers, lambda: peer)
            except UnknownToken:
                assert self._loop is not None
                looking = self._authenticator.identify(headers, lambda: peer)
                principal = asyncio.run_coroutine_threadsafe(looking, self._loop).result(LOOKUP_S)
            principal.require((Scope.METRICS,))
        except TimeoutError:
            return NotReady("the server cannot check tokens now; try again", 1.0)
        except ZooError as error:
            return error
        return None

    async def _add_first_token(self) -> None:
        path = self._settings.admin_token_file
        assert path is not None
        try:
            secret = await asyncio.to_thread(first_token.read_or_make, path)
        except first_token.BadTokenFile as error:
            raise SettingsError(f"ZOO_ADMIN_TOKEN_FILE: {error}") from None
        token = await self._store.add(secret, ADMIN_NAME, [Scope.ADMIN], creator="local")
        if token.digest != secret.digest:
            raise SettingsError("ZOO_ADMIN_TOKEN_FILE: its token has the id of another one, with another secret")
        if Scope.ADMIN not in token.scopes:
            raise SettingsError("ZOO_ADMIN_TOKEN_FILE: its token is known already, and is none of an admin")
        if token.revoked is not None:
            log.warning("the token of ZOO_ADMIN_TOKEN_FILE was revoked", token=token.id)

    async def _refresh(self) -> None:
        if self._authenticator is not None:
            await self._authenticator.refresh()
