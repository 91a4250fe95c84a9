"""Tokens of a server: the SDK's classes, and their conversion from messages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from service.client.errors import BadInput
from service.client.message_fields import build, enum_value, enum_word, utc_time
from service.pb import access_pb2 as pb

_SCOPE = "SCOPE_"


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """How much the calls with one token may take; 0 is the server's default."""

    requests_per_second: float = 0.0
    rows_per_second: float = 0.0
    concurrent_requests: int = 0
    jobs: int = 0
    """Jobs of the principal that have not ended."""
    datasets: int = 0
    """Datasets of the principal."""
    dataset_mib: int = 0
    """Size of all datasets of the principal."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token without its secret."""

    id: str
    principal: str
    """Whose calls they are."""
    scopes: tuple[str, ...]
    """`infer`, `models`, `finetune`, `admin`, `metrics`."""
    models: tuple[str, ...]
    """Names of models that it permits, with `*` and `?`; empty permits all."""
    limits: TokenLimits
    created: datetime | None
    expires: datetime | None
    """None for a token that does not expire."""
    revoked: datetime | None
    """None for one that was not revoked."""
    creator: str


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made, with its secret."""

    token: Token
    secret: str

    def __repr__(self) -> str:
        return f"NewToken({self.token.id})"  # a secret must not reach a log by accident


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom the server takes the caller for."""

    principal: str
    """Empty where the server asks for no tokens."""
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    """Names of models that the caller may use, with `*` and `?`; empty for all."""
    token_id: str
    expires: datetime | None


def create_request(
    principal: str,
    scopes: Sequence[str],
    models: Sequence[str],
    limits: TokenLimits | None,
    expires: datetime | None,
) -> pb.CreateTokenRequest:
    """The request of `create_token`. Raises BadInput for an unknown scope, a wrong limit, and a time without a zone."""
    request = build(
        pb.CreateTokenRequest,
        principal=principal,
        scopes=[enum_value(pb.Scope, _SCOPE, scope or "?", "scopes") for scope in scopes],
        models=models,
    )
    if limits is not None:
        request.limits.CopyFrom(_limits(limits))
    if expires is not None:
        if expires.tzinfo is None:
            raise BadInput(f"expires: expected a time with a zone, got {expires.isoformat()}")
        stamp = Timestamp()
        stamp.FromDatetime(expires)
        request.expire_time.CopyFrom(stamp)
    return request


def read_token(message: pb.Token) -> Token:
    """A token from its message."""
    return Token(
        id=message.id,
        principal=message.principal,
        scopes=_scopes(message.scopes),
        models=tuple(message.models),
        limits=TokenLimits(**{one.name: getattr(message.limits, one.name) for one in fields(TokenLimits)}),
        created=utc_time(message, "create_time"),
        expires=utc_time(message, "expire_time"),
        revoked=utc_time(message, "revoke_time"),
        creator=message.creator,
    )


def read_identity(message: pb.GetPrincipalResponse) -> Identity:
    """The caller's identity from the reply."""
    return Identity(
        principal=message.principal,
        scopes=_scopes(message.scopes),
        models=tuple(message.models),
        token_id=message.token_id,
        expires=utc_time(message, "expire_time"),
    )


def _scopes(values: Any) -> tuple[str, ...]:
    return tuple(enum_word(pb.Scope, value, _SCOPE).lower() for value in values)


def _limits(limits: TokenLimits) -> pb.TokenLimits:
    message = pb.TokenLimits()
    for one in fields(TokenLimits):
        value = getattr(limits, one.name)
        try:
            setattr(message, one.name, value)
        except (TypeError, ValueError):
            raise BadInput(f"limits.{one.name}: expected a number, got {value!r}") from None
    return message
