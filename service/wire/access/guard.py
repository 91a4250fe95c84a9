"""Admits calls: whose call is it, may it use the method, and is there room for it. The same for both frontends."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from service.access.authenticator import KEY, Authenticator
from service.access.principal import ANYONE, Principal
from service.access.scopes import Scope
from service.wire.access.method_scopes import ADMIN, MODEL_FIELDS, SCOPES, field_of

Metadata = Iterable[tuple[str, str | bytes]]


class Guard:
    """`Guard()` admits every call as nobody's, for a server without tokens."""

    def __init__(self, authenticator: Authenticator | None = None, open_methods: frozenset[str] = frozenset()) -> None:
        """`open_methods`: full names of methods that need no token, beside those of SCOPES."""
        self._authenticator = authenticator
        self._scopes = {**SCOPES, **dict.fromkeys(open_methods)}

    @property
    def asks_for_tokens(self) -> bool:
        """Whether calls need a token."""
        return self._authenticator is not None

    def identify_now(self, method: str, metadata: Metadata, peer: Callable[[], str]) -> Principal:
        """Whose call it is. From any thread.

        Raises UnknownToken where `identify` may find the token, Unauthenticated, RateLimited, NotReady.
        """
        authenticator = self._authenticator
        if authenticator is None or self._needed(method) is None:
            return ANYONE
        return authenticator.authenticate([value for key, value in metadata if key == KEY], peer)

    async def identify(self, method: str, metadata: Metadata, peer: Callable[[], str]) -> Principal:
        """As `identify_now`, on the event loop; it finds tokens that another process has made since."""
        authenticator = self._authenticator
        if authenticator is None or self._needed(method) is None:
            return ANYONE
        return await authenticator.identify([value for key, value in metadata if key == KEY], peer)

    def check_scope(self, method: str, principal: Principal) -> None:
        """Raises PermissionDenied where the principal may not use the method. From any thread."""
        if self._authenticator is not None and (scopes := self._needed(method)) is not None:
            principal.require(scopes)

    def check_request(self, method: str, request: Any, principal: Principal) -> None:
        """Raises PermissionDenied where the request of a control method names a model that the principal may not use. An empty
        name is for the method to judge."""
        if principal.matcher is not None:
            for path in MODEL_FIELDS.get(method, ()):
                if name := field_of(request, path):
                    principal.require_model(name)

    def check_alive(self, principal: Principal) -> None:
        """Raises Unauthenticated where the token of a call that is under way was revoked or has expired. From any thread."""
        if self._authenticator is not None:
            self._authenticator.check_alive(principal)

    def _needed(self, method: str) -> tuple[Scope, ...] | None:
        return self._scopes.get(method, ADMIN)
