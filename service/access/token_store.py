"""The tokens in the database: create, list, revoke. Only digests are stored."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from model_zoo import strict_json
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.tokens import Secret
from service.database import Database
from service.database.tables import tokens
from service.errors import InvalidInput, NotFound


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is stored. Times are seconds since 1970."""

    id: str
    digest: bytes
    principal: str
    scopes: frozenset[Scope]
    models: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    creator: str = ""


@dataclass(frozen=True, slots=True)
class TokenPage:
    """Tokens, the newest first, and the `after` of the next page (empty on the last)."""

    tokens: tuple[Token, ...]
    next: str


Revision = tuple[int, int]
"""How many tokens there are, and how many of them are revoked. Both only grow."""


class TokenStore:
    """Runs on the event loop. Its methods raise DatabaseUnavailable."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self,
        secret: Secret,
        principal: str,
        scopes: Collection[Scope],
        *,
        models: tuple[str, ...] = (),
        limits: Limits | None = None,
        expires: float | None = None,
        creator: str = "",
    ) -> Token:
        """Stores a token. If it is there already, it stays as it is: two servers may add the same first token."""
        token = Token(
            secret.id,
            secret.digest,
            principal,
            frozenset(scopes),
            models,
            limits or Limits(),
            self._clock(),
            expires,
            None,
            creator,
        )

        try:
            await self._database.write(lambda c: c.execute(insert(tokens).values(**_row(token))))
        except IntegrityError:  # it is there
            stored = select(tokens).where(tokens.c.id == token.id)
            return await self._database.read(lambda c: _token(c.execute(stored).mappings().one()))
        return token

    async def list(self, size: int, after: str = "", principal: str = "") -> TokenPage:
        """A page of tokens, the newest first. Raises InvalidInput for an `after` that no page gave."""
        query = select(tokens).order_by(tokens.c.created.desc(), tokens.c.id.desc()).limit(size + 1)
        if principal:
            query = query.where(tokens.c.principal == principal)
        if after:
            created, _, token_id = after.partition(" ")
            try:
                when = float(created)
            except ValueError:
                raise InvalidInput("page_token", "is not one that this server gave out") from None
            query = query.where(or_(tokens.c.created < when, and_(tokens.c.created == when, tokens.c.id < token_id)))
        found = await self._database.read(lambda c: [_token(row) for row in c.execute(query).mappings()])
        page = found[:size]
        following = f"{page[-1].created!r} {page[-1].id}" if len(found) > size else ""
        return TokenPage(tuple(page), following)

    async def revoke(self, token_id: str) -> Token:
        """Ends a token; one that is revoked already stays as it is. Raises NotFound."""

        def change(connection: Connection) -> Token | None:
            alive = (tokens.c.id == token_id) & tokens.c.revoked.is_(None)
            connection.execute(update(tokens).where(alive).values(revoked=self._clock()))
            found = connection.execute(select(tokens).where(tokens.c.id == token_id)).mappings().first()
            return None if found is None else _token(found)

        token = await self._database.write(change)
        if token is None:
            raise NotFound("token", token_id[:64])
        return token

    async def revision(self) -> Revision:
        """Changes with every change of a token."""
        counted = select(func.count(), func.count(tokens.c.revoked)).select_from(tokens)
        return await self._database.read(lambda c: _pair(c.execute(counted).one()))

    async def all(self) -> tuple[Revision, Sequence[Token]]:
        """Every token, and the revision that they are of."""
        found = await self._database.read(lambda c: [_token(row) for row in c.execute(select(tokens)).mappings()])
        return (len(found), sum(token.revoked is not None for token in found)), found


def _pair(row: Any) -> Revision:
    return int(row[0]), int(row[1])


def _row(token: Token) -> dict[str, Any]:
    given = {name: value for name, value in asdict(token.limits).items() if value}
    return {
        "id": token.id,
        "digest": token.digest.hex(),
        "principal": token.principal,
        "scopes": strict_json.text(sorted(token.scopes)),
        "models": strict_json.text(token.models),
        "limits": strict_json.text(given),
        "created": token.created,
        "expires": token.expires,
        "revoked": token.revoked,
        "creator": token.creator,
    }


def _token(row: RowMapping) -> Token:
    """A stored token. What a newer Zoo wrote and this one does not know is left out: an unknown scope permits nothing."""
    known = {scope.value for scope in Scope}
    fields = set(Limits.__dataclass_fields__)
    return Token(
        row["id"],
        bytes.fromhex(row["digest"]),
        row["principal"],
        frozenset(Scope(scope) for scope in json.loads(row["scopes"]) if scope in known),
        tuple(json.loads(row["models"])),
        Limits(**{name: value for name, value in json.loads(row["limits"]).items() if name in fields}),
        row["created"],
        row["expires"],
        row["revoked"],
        row["creator"],
    )
