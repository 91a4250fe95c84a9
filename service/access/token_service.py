"""What admins do with tokens: create, list, revoke. Used by the server, and by `zoo token --local` on the server's machine."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection

from service.access.principal import check_name, check_patterns
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.token_store import Token, TokenPage, TokenStore
from service.access.tokens import Secret, new_secret
from service.errors import InvalidInput

LEAST = 0.001
"""Of any limit that is set: a call in a quarter of an hour."""
MOST = 1_000_000_000
"""Of any limit; it fits into 32 bits."""
LONGEST_LIFE_S = 10 * 366 * 86_400.0


async def _nothing() -> None:
    pass


class TokenService:
    """Belongs to the event loop. Its methods raise DatabaseUnavailable."""

    def __init__(
        self,
        store: TokenStore,
        on_change: Callable[[], Awaitable[None]] = _nothing,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`on_change` is awaited after each change, before its caller hears of it."""
        self._store = store
        self._on_change = on_change
        self._clock = clock

    async def create(
        self,
        principal: str,
        scopes: Collection[Scope],
        *,
        models: Collection[str] = (),
        limits: Limits | None = None,
        expires: float | None = None,
        creator: str = "",
    ) -> tuple[Token, Secret]:
        """A new token. `expires`: seconds since 1970. Raises InvalidInput for a wrong field."""
        check_name("principal", principal)
        if not scopes:
            raise InvalidInput("scopes", f"expected at least one of {', '.join(Scope)}, got none")
        patterns = check_patterns("models", models)
        if patterns and Scope.ADMIN in scopes:
            raise InvalidInput("models", "expected none with the scope 'admin', which permits all models")
        if expires is not None and not self._clock() < expires <= self._clock() + LONGEST_LIFE_S:
            raise InvalidInput("expire_time", "expected a time in the future, at most ten years away")
        _check_limits(limits or Limits())
        secret = new_secret()
        token = await self._store.add(
            secret, principal, scopes, models=patterns, limits=limits, expires=expires, creator=creator
        )
        await self._on_change()
        return token, secret

    async def list(self, size: int, after: str = "", principal: str = "") -> TokenPage:
        """A page of tokens, the newest first. Raises InvalidInput for an `after` that no page gave."""
        return await self._store.list(size, after, principal)

    async def revoke(self, token_id: str) -> Token:
        """Ends a token for ever. Raises NotFound."""
        token = await self._store.revoke(token_id)
        await self._on_change()
        return token


def _check_limits(limits: Limits) -> None:
    for name in Limits.__dataclass_fields__:
        value = getattr(limits, name)
        if value and not LEAST <= value <= MOST:  # also refuses NaN
            raise InvalidInput(
                f"limits.{name}", f"expected 0 for the server's default, or {LEAST:g} to {MOST}, got {value:g}"
            )
