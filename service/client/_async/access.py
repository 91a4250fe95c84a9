"""Tokens of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from service.client._async.connection import AsyncConnection
from service.client.access import Identity, NewToken, Token, TokenLimits, create_request, read_identity, read_token
from service.client.message_fields import build
from service.pb import access_pb2 as pb


class AsyncAccess:
    """Creates, lists and revokes tokens."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(
        self,
        principal: str,
        scopes: Sequence[str],
        models: Sequence[str],
        limits: TokenLimits | None,
        expires: datetime | None,
        timeout: float | None,
    ) -> NewToken:
        """Makes a token."""
        request = create_request(principal, scopes, models, limits, expires)
        reply = await self._connection.call(self._connection.access.CreateToken, request, timeout)
        return NewToken(read_token(reply.token), reply.secret)

    async def list_all(self, principal: str, timeout: float | None) -> AsyncIterator[Token]:
        """The tokens, newest first, page by page."""
        page_token = ""
        while True:
            request = build(pb.ListTokensRequest, principal=principal, page_token=page_token)
            reply = await self._connection.call(self._connection.access.ListTokens, request, timeout)
            for message in reply.tokens:
                yield read_token(message)
            if not (page_token := reply.next_page_token):
                return

    async def revoke(self, token_id: str, timeout: float | None) -> Token:
        """Ends a token."""
        request = build(pb.RevokeTokenRequest, id=token_id)
        return read_token((await self._connection.call(self._connection.access.RevokeToken, request, timeout)).token)

    async def identity(self, timeout: float | None) -> Identity:
        """Whom the server takes the caller for."""
        request = pb.GetPrincipalRequest()
        return read_identity(await self._connection.call(self._connection.access.GetPrincipal, request, timeout))
