"""From the metadata of a call to its principal.

All tokens are in memory, so a check takes microseconds, needs no database, and may be made on any thread. The event loop reads
the database for changes; while it does not answer, the copy stays valid for a bounded time.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from service.access.attempts import FailedAttempts, address_of
from service.access.principal import Principal, model_matcher
from service.access.rate_limits import Limits, RateLimits
from service.access.token_store import Revision, Token, TokenStore
from service.access.tokens import Secret, digest_of, from_header
from service.database import DatabaseError
from service.errors import NotReady, RateLimited, Unauthenticated
from service.observability.log import logger

log = logger(__name__)

KEY = "authorization"
HOW = "send `authorization: Bearer TOKEN` in the metadata of the call"
TOO_MANY_FAILURES = "too many calls of this address had no valid token"
REVOKED, EXPIRED = "the token was revoked", "the token has expired"
REREAD_S = 0.1
"""Least time between two reads of the database for tokens that the copy does not have."""
NOTE_INTERVAL_S = 0.01
"""Least time between two notes of who uses a token."""
MOST_CONNECTIONS = 256
MOST_ADDRESSES = 64
"""Of one token; the oldest are forgotten."""
MOST_HEADERS = 1024
"""Headers that are remembered as right; others are read each time."""
_NO_DIGEST = digest_of("")


class UnknownToken(Unauthenticated):
    """No token in the copy has this id; the database may have it by now."""


class _Entry:
    """A token and its principal in memory."""

    __slots__ = ("addresses", "connections", "note_due", "principal", "token")

    def __init__(self, token: Token, principal: Principal) -> None:
        self.token = token
        self.principal = principal
        self.connections: dict[str, None] = {}
        self.addresses: dict[str, None] = {}
        self.note_due = float("-inf")  # when the peer of a call is noted again

    def used_by(self, peer: str) -> None:
        """The token was right in a call of a peer. Races lose an entry at worst, and only cost a later call its exemption."""
        if peer not in self.connections:
            _remember(self.connections, peer, MOST_CONNECTIONS)
            _remember(self.addresses, address_of(peer), MOST_ADDRESSES)


class _Copy:
    """The tokens at one time, and headers that were found to be right since. It is replaced as a whole."""

    __slots__ = ("entries", "headers")

    def __init__(self, entries: Mapping[str, _Entry]) -> None:
        self.entries = entries
        self.headers: dict[int, tuple[str, _Entry, float | None]] = {}
        """Header, whose token it is, and when that expires; of tokens that are not revoked. By hash: Python's is keyed (SipHash),
        so that nothing about the text can be learned from the time of a lookup."""


class Authenticator:
    """`authenticate` from any thread; everything else on the event loop. Call `refresh` once before the first call."""

    def __init__(
        self,
        store: TokenStore,
        defaults: Limits | None = None,
        stale_after_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`defaults`: limits of tokens that set none. `stale_after_s`: how long the copy is used without the database."""
        self.attempts = FailedAttempts(clock)
        self._store = store
        self._defaults = defaults or Limits()
        self._stale_after_s = stale_after_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._copy = _Copy({})
        self._revision: Revision | None = None
        self._read_at = float("-inf")
        self._began = float("-inf")  # when the last read for waiting callers began
        self._reading: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None

    # ── on any thread ─────────────────────────────────────────────────────────────────────────────────────────

    def authenticate(self, headers: Sequence[str | bytes], peer: Callable[[], str]) -> Principal:
        """The principal of a call with these `authorization` values from a peer, as gRPC names it.

        Raises Unauthenticated (UnknownToken where `identify` may find it), RateLimited for a peer that failed too often, NotReady
        where the copy is too old.
        """
        if len(headers) == 1 and self.attempts.empty and type(header := headers[0]) is str:
            # Nearly every call ends here.
            known = self._copy.headers.get(hash(header))
            if known is not None and hmac.compare_digest(known[0], header):
                _, entry, expires = known
                now = self._clock()
                valid = expires is None or expires > self._wall_clock()
                if valid and now - self._read_at <= self._stale_after_s:
                    if now >= entry.note_due:  # asking gRPC for the peer costs more than all the rest
                        entry.note_due = now + NOTE_INTERVAL_S
                        entry.used_by(peer())
                    return entry.principal
        return self._judge(headers, peer)

    def _judge(self, headers: Sequence[str | bytes], peer: Callable[[], str]) -> Principal:
        """As `authenticate`: the whole of it, failed attempts included. Remembers a header that is right."""
        copy = self._copy
        if not headers:
            raise Unauthenticated(f"a token is required; {HOW}")
        name = peer()
        secret = _secret(headers)
        wait_s = 0.0 if self.attempts.empty else self.attempts.blocked_s(address_of(name))
        if secret is None:
            if wait_s:
                raise RateLimited(TOO_MANY_FAILURES, wait_s)
            self._fail(name)
            raise Unauthenticated(f"the authorization is no token of this server; {HOW}")
        entry = copy.entries.get(secret.id)
        seen = copy.headers.get(hash(headers[0]))
        was_right = seen is not None and isinstance(headers[0], str) and hmac.compare_digest(seen[0], headers[0])
        if wait_s and (entry is None or not (was_right or address_of(name) in entry.addresses)):
            raise RateLimited(TOO_MANY_FAILURES, wait_s)
        right = hmac.compare_digest(secret.digest, _NO_DIGEST if entry is None else entry.token.digest)
        if self._clock() - self._read_at > self._stale_after_s:
            raise NotReady("the server cannot check tokens: its database does not answer; try again", 1.0)
        if entry is None:
            raise UnknownToken("the token is not valid")
        if not right:
            self._fail(name)
            if wait_s:  # what was guessed stays unknown
                raise RateLimited(TOO_MANY_FAILURES, wait_s)
            raise Unauthenticated("the token is not valid")
        try:
            self.check_alive(entry.principal)
        except Unauthenticated:
            self._fail(name)
            raise
        entry.used_by(name)
        if isinstance(headers[0], str) and len(copy.headers) < MOST_HEADERS:
            copy.headers[hash(headers[0])] = headers[0], entry, entry.token.expires
        return entry.principal

    def check_alive(self, principal: Principal) -> None:
        """Raises Unauthenticated where the token of a principal was revoked or has expired since. From any thread."""
        entry = self._copy.entries.get(principal.token_id)
        if entry is None:  # of a call that is open to everyone
            return
        if entry.token.revoked is not None:
            raise Unauthenticated(REVOKED)
        if entry.token.expires is not None and entry.token.expires <= self._wall_clock():
            raise Unauthenticated(EXPIRED)

    def _fail(self, peer: str) -> None:
        self.attempts.failed(address_of(peer))

    # ── on the event loop ─────────────────────────────────────────────────────────────────────────────────────

    async def identify(self, headers: Sequence[str | bytes], peer: Callable[[], str]) -> Principal:
        """As `authenticate`, and reads the database for a token that the copy does not have."""
        try:
            return self.authenticate(headers, peer)
        except UnknownToken:
            pass
        await self._reread()
        try:
            return self.authenticate(headers, peer)
        except UnknownToken as error:
            self._fail(peer())
            raise Unauthenticated(error.message) from None

    async def refresh(self) -> None:
        """Reads what has changed. Raises DatabaseError."""
        if self._revision is None or await self._store.revision() != self._revision:
            self._revision, stored = await self._store.all()
            before = self._copy
            after = _Copy({token.id: self._entry(token, before.entries.get(token.id)) for token in stored})
            for key, known in tuple(before.headers.items()):
                if after.entries.get(known[1].token.id) is known[1]:
                    after.headers[key] = known
            self._copy = after
        self._read_at = self._clock()

    def follow(self, interval_s: float) -> None:
        """Refreshes from now on. `stop` ends it."""
        self._following = asyncio.create_task(self._follow(interval_s), name="tokens")

    def stop(self) -> None:
        """Ends `follow`."""
        if self._following is not None:
            self._following.cancel()

    async def _follow(self, interval_s: float) -> None:
        answers = True
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.refresh()
            except DatabaseError as error:
                if answers:
                    log.warning("tokens cannot be read", reason=str(error), valid_s=self._stale_after_s)
                answers = False
            else:
                answers = True

    async def _reread(self) -> None:
        """Reads the database once for all callers who wait; the read begins after each of them has come. A failure leaves the
        copy as it is."""
        came = self._clock()
        while self._began < came:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_once())
            await asyncio.shield(self._reading)

    async def _read_once(self) -> None:
        await asyncio.sleep(max(0.0, self._began + REREAD_S - self._clock()))
        self._began = self._clock()
        with suppress(DatabaseError):
            await self.refresh()

    def _entry(self, token: Token, before: _Entry | None) -> _Entry:
        if before is not None and before.token == token:
            return before
        limits = token.limits.over(self._defaults)
        kept = before.principal.limits if before is not None else None
        if kept is None or kept.limits != limits:
            kept = RateLimits(limits)
        principal = Principal(
            token.principal,
            token.scopes,
            token.models,
            token.id,
            token.expires,
            kept,
            model_matcher(token.models),
        )
        entry = _Entry(token, principal)
        if before is not None:
            entry.addresses = before.addresses
        return entry


def _secret(headers: Sequence[str | bytes]) -> Secret | None:
    """The token of the headers; None for several, since a proxy and its client must not contradict each other."""
    if len(headers) != 1 or not isinstance(headers[0], str):
        return None
    return from_header(headers[0])


def _remember(kept: dict[str, None], name: str, most: int) -> None:
    kept[name] = None
    while len(kept) > most:
        with suppress(KeyError, RuntimeError, StopIteration):
            del kept[next(iter(kept))]
