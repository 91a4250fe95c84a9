"""Servicer of `zoo.v1.Access`. The guard has checked that the caller is an admin."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from service.access.principal import current_principal
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.token_service import TokenService
from service.access.token_store import Token
from service.errors import IllegalMove, InvalidInput
from service.pb import access_pb2 as pb
from service.pb import access_pb2_grpc
from service.wire.calls import Context
from service.wire.times import timestamp
from service.wire.zoo_v1.jobs import required
from service.wire.zoo_v1.jobs_convert import without_nul
from service.wire.zoo_v1.pages import page_size, read_token, write_token

LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""
_SCOPES = {
    Scope.INFER: pb.SCOPE_INFER,
    Scope.MODELS: pb.SCOPE_MODELS,
    Scope.FINETUNE: pb.SCOPE_FINETUNE,
    Scope.ADMIN: pb.SCOPE_ADMIN,
    Scope.METRICS: pb.SCOPE_METRICS,
}
_SCOPE_OF: dict[int, Scope] = {int(value): scope for scope, value in _SCOPES.items()}


class AccessServicer(access_pb2_grpc.AccessServicer):
    """Creates, lists and revokes tokens."""

    def __init__(self, tokens: TokenService, *, required: bool) -> None:
        """`required`: whether the server asks for tokens. Without that nobody is an admin, and none are made over the wire."""
        self._tokens = tokens
        self._required = required

    async def CreateToken(self, request: pb.CreateTokenRequest, context: Context) -> pb.CreateTokenResponse:  # noqa: N802
        """See access.proto."""
        self._check_required()
        token, secret = await self._tokens.create(
            request.principal,
            [_scope(value, f"scopes[{i}]") for i, value in enumerate(request.scopes)],
            models=list(request.models),
            limits=_limits(request.limits),
            expires=_seconds(request.expire_time) if request.HasField("expire_time") else None,
            creator=current_principal.get().name,
        )
        return pb.CreateTokenResponse(token=write_token_info(token), secret=secret.text)

    async def ListTokens(self, request: pb.ListTokensRequest, context: Context) -> pb.ListTokensResponse:  # noqa: N802
        """See access.proto."""
        self._check_required()
        filters = ("tokens", request.principal)
        after = read_token(request.page_token, *filters)
        page = await self._tokens.list(page_size(request.page_size), after, without_nul(request.principal, "principal"))
        return pb.ListTokensResponse(
            tokens=[write_token_info(token) for token in page.tokens], next_page_token=write_token(page.next, *filters)
        )

    async def RevokeToken(self, request: pb.RevokeTokenRequest, context: Context) -> pb.RevokeTokenResponse:  # noqa: N802
        """See access.proto."""
        self._check_required()
        return pb.RevokeTokenResponse(token=write_token_info(await self._tokens.revoke(required(request.id))))

    async def GetPrincipal(self, request: pb.GetPrincipalRequest, context: Context) -> pb.GetPrincipalResponse:  # noqa: N802
        """See access.proto."""
        principal = current_principal.get()
        return pb.GetPrincipalResponse(
            principal=principal.name,
            scopes=[_SCOPES[scope] for scope in Scope if scope in principal.scopes],
            models=principal.models,
            token_id=principal.token_id,
            expire_time=timestamp(principal.expires),
        )

    def _check_required(self) -> None:
        """Raises IllegalMove on a server without tokens, where everyone could make themselves an admin of the next start."""
        if not self._required:
            raise IllegalMove(
                "the server asks for no tokens: set ZOO_TOKENS=required, or use `zoo token --local` on its machine"
            )


def write_token_info(token: Token) -> pb.Token:
    """A token as a message."""
    limits = token.limits
    return pb.Token(
        id=token.id,
        principal=token.principal,
        scopes=[_SCOPES[scope] for scope in Scope if scope in token.scopes],
        models=token.models,
        limits=pb.TokenLimits(**{name: getattr(limits, name) for name in Limits.__dataclass_fields__}),
        create_time=timestamp(token.created),
        expire_time=timestamp(token.expires),
        revoke_time=timestamp(token.revoked),
        creator=token.creator,
    )


def _seconds(time: Timestamp) -> float:
    """Seconds since 1970. Raises InvalidInput for what timestamp.proto does not allow."""
    if not 0 <= time.seconds <= LAST_SECOND or not 0 <= time.nanos < 1_000_000_000:
        raise InvalidInput("expire_time", "expected a time from 1970 to 9999, with nanos from 0 to 999999999")
    return time.seconds + time.nanos / 1e9


def _limits(message: pb.TokenLimits) -> Limits:
    return Limits(**{name: getattr(message, name) for name in Limits.__dataclass_fields__})


def _scope(value: int, field: str) -> Scope:
    scope = _SCOPE_OF.get(value)
    if scope is None:
        raise InvalidInput(field, f"expected the number of a scope, {min(_SCOPE_OF)} to {max(_SCOPE_OF)}, got {value}")
    return scope
