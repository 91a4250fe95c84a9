"""Tokens of tests: a guard over tokens in memory, and the metadata that bring them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from service.access.authenticator import Authenticator
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.token_store import Revision, Token
from service.access.tokens import Secret, new_secret
from service.database import DatabaseUnavailable
from service.wire.access.guard import Guard


class MemoryTokens:
    """Tokens as the database would hold them; other servers change them without notice."""

    def __init__(self) -> None:
        self.tokens: dict[str, Token] = {}
        self.away = False
        self.reads = 0

    def add(self, principal: str = "ada", scope: Scope = Scope.INFER, **fields: object) -> Secret:
        """A new token."""
        secret = new_secret()
        token = Token(secret.id, secret.digest, principal, frozenset({scope}))
        self.tokens[secret.id] = replace(token, **cast(Any, fields))
        return secret

    def revoke(self, secret: Secret) -> None:
        """Ends a token."""
        self.tokens[secret.id] = replace(self.tokens[secret.id], revoked=1.0)

    async def revision(self) -> Revision:
        """See TokenStore."""
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise DatabaseUnavailable("away")
        return len(self.tokens), sum(token.revoked is not None for token in self.tokens.values())

    async def all(self) -> tuple[Revision, Sequence[Token]]:
        """See TokenStore."""
        return await self.revision(), list(self.tokens.values())


class Access:
    """A guard over tokens in memory."""

    def __init__(self, defaults: Limits | None = None) -> None:
        self.tokens = MemoryTokens()
        self.authenticator = Authenticator(cast(Any, self.tokens), defaults)
        self.guard = Guard(self.authenticator)

    async def token(
        self, principal: str = "ada", scope: Scope = Scope.INFER, **fields: object
    ) -> Sequence[tuple[str, str]]:
        """Metadata with a new token, which the guard knows."""
        secret = self.tokens.add(principal, scope, **fields)
        await self.authenticator.refresh()
        return bearer(secret)


def bearer(secret: Secret) -> tuple[tuple[str, str]]:
    """The metadata of a call with a token."""
    return (("authorization", f"Bearer {secret.text}"),)
