"""Whose call it is, and what it may do."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import translate

from service.access.rate_limits import RateLimits
from service.access.scopes import ALL, Scope
from service.errors import InvalidInput, NotFound, PermissionDenied

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,63}")
NAME_RULE = "letters, digits and . _ - + @, a letter or digit first, at most 64 characters"
PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,128}")
MOST_PATTERNS = 64


@dataclass(frozen=True, slots=True)
class Principal:
    """Immutable; any thread may use it."""

    name: str = ""
    """Owns jobs, datasets and uploads. Empty where the server asks for no tokens."""
    scopes: frozenset[Scope] = ALL
    models: tuple[str, ...] = ()
    """Names of models, with `*` and `?` as in file names; empty permits all."""
    token_id: str = ""
    expires: float | None = None
    """Seconds since 1970; None for a token that does not expire."""
    limits: RateLimits | None = field(default=None, compare=False)
    """Counts what all calls with the token take; None where nothing is limited."""
    matcher: re.Pattern[str] | None = field(default=None, compare=False, repr=False)

    @property
    def anonymous(self) -> bool:
        """The server asks for no tokens, so nothing proves who calls."""
        return not self.name

    @property
    def is_admin(self) -> bool:
        """May do everything, for all principals."""
        return Scope.ADMIN in self.scopes

    def require(self, permitted: Collection[Scope]) -> None:
        """Raises PermissionDenied unless the principal has one of the scopes. An admin has all."""
        if self.scopes.isdisjoint(permitted) and not self.is_admin:
            wanted = " or ".join(repr(scope.value) for scope in permitted)
            held = ", ".join(sorted(self.scopes)) or "none"
            raise PermissionDenied(f"this call needs a token with the scope {wanted}; the token's scopes are: {held}")

    def may_use(self, model: str) -> bool:
        """Whether the token permits a model."""
        return self.matcher is None or self.matcher.fullmatch(model) is not None

    def require_model(self, model: str) -> None:
        """Raises PermissionDenied for a model that the token does not permit, whether or not there is such a model."""
        if self.matcher is not None and self.matcher.fullmatch(model) is None:
            raise PermissionDenied(f"the token does not permit the model {model[:128]!r}")

    def take_rows(self, rows: int) -> None:
        """Counts rows of inference. Raises RateLimited where the token may not send so many now."""
        if self.limits is not None:
            self.limits.take_rows(rows)

    def owns(self, owner: str) -> bool:
        """Whether a job or dataset of `owner` is the principal's to see and change."""
        return self.anonymous or self.is_admin or owner == self.name

    def require_own(self, kind: str, name: str, owner: str) -> None:
        """Raises NotFound for an object of another principal, as for one that does not exist."""
        if not self.owns(owner):
            raise NotFound(kind, name)


ANYONE = Principal()
"""Every caller of a server that asks for no tokens."""

current_principal: ContextVar[Principal] = ContextVar("current_principal", default=ANYONE)
"""Set by `wire/` for each call that a coroutine answers."""


def model_matcher(patterns: Iterable[str]) -> re.Pattern[str] | None:
    """One expression for all patterns; None for none, which permits all."""
    expressions = [translate(pattern) for pattern in patterns]
    return re.compile("|".join(expressions)) if expressions else None


def check_name(field_name: str, name: str) -> str:
    """Raises InvalidInput for a text that is no name of a principal."""
    if not NAME.fullmatch(name):
        raise InvalidInput(field_name, f"expected {NAME_RULE}, got {name[:64]!r}")
    return name


def check_patterns(field_name: str, patterns: Collection[str]) -> tuple[str, ...]:
    """Raises InvalidInput for too many patterns, and for one that cannot match a model's name."""
    if len(patterns) > MOST_PATTERNS:
        raise InvalidInput(field_name, f"expected at most {MOST_PATTERNS} patterns, got {len(patterns)}")
    for i, pattern in enumerate(patterns):
        if not PATTERN.fullmatch(pattern):
            problem = "expected letters, digits and . _ - with * and ? as in file names, at most 128 characters"
            raise InvalidInput(f"{field_name}[{i}]", f"{problem}, got {pattern[:64]!r}")
    return tuple(dict.fromkeys(patterns))
