"""A call with a valid token is its principal's; every other is refused, and tells nothing about tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service.access import authenticator
from service.access.attempts import BURST, REFILL_S
from service.access.authenticator import Authenticator, UnknownToken
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.tokens import Secret, new_secret
from service.errors import NotReady, RateLimited, Unauthenticated
from tests.support.wire.access import MemoryTokens

pytestmark = pytest.mark.asyncio


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def here(address: str = "10.0.0.1") -> Callable[[], str]:
    return lambda: f"ipv4:{address}:5000"


def bearer(secret: Secret) -> tuple[str]:
    return (f"Bearer {secret.text}",)


class World:
    def __init__(self) -> None:
        self.clock, self.wall = Clock(), Clock()
        self.store = MemoryTokens()
        self.authenticator = Authenticator(
            self.store,  # type: ignore[arg-type]
            Limits(requests_per_second=100),
            60.0,
            self.clock,
            self.wall,
        )


@pytest.fixture
def w() -> World:
    return World()


async def test_valid_token_gives_its_principal(w: World) -> None:
    secret = w.store.add("ada", Scope.FINETUNE, models=("cat*",), limits=Limits(jobs=2))
    await w.authenticator.refresh()
    found = w.authenticator.authenticate(bearer(secret), here())
    assert (found.name, found.scopes, found.token_id) == ("ada", {Scope.FINETUNE}, secret.id)
    assert found.may_use("cats")
    assert not found.may_use("dogs")
    assert found.limits is not None
    assert found.limits.limits == Limits(requests_per_second=100, jobs=2)


async def test_header_that_was_right_before_is_refused_once_its_token_is_revoked_deleted_or_expired(w: World) -> None:
    revoked, deleted, expiring = w.store.add("a"), w.store.add("b"), w.store.add("c", expires=1002.0)
    await w.authenticator.refresh()
    for _ in range(3):
        for secret, name in ((revoked, "a"), (deleted, "b"), (expiring, "c")):
            assert w.authenticator.authenticate(bearer(secret), here()).name == name
    w.store.revoke(revoked)
    del w.store.tokens[deleted.id]
    w.store.add("d")
    await w.authenticator.refresh()
    w.wall.now = 1002.0
    for secret, text in ((revoked, "revoked"), (deleted, "not valid"), (expiring, "expired")):
        with pytest.raises(Unauthenticated, match=text):
            w.authenticator.authenticate(bearer(secret), here())


async def test_header_that_was_right_before_needs_a_copy_that_is_not_too_old(w: World) -> None:
    secret = w.store.add()
    await w.authenticator.refresh()
    for _ in range(2):
        w.authenticator.authenticate(bearer(secret), here())
    w.clock.now += 60.5
    with pytest.raises(NotReady):
        w.authenticator.authenticate(bearer(secret), here())


async def test_token_that_was_right_goes_on_although_its_address_is_blocked_and_was_never_noted(w: World) -> None:
    secret, other = w.store.add(), w.store.add("bob")
    await w.authenticator.refresh()
    w.authenticator.authenticate(bearer(secret), here("10.0.0.1"))  # noted
    w.authenticator.authenticate(bearer(secret), here("10.0.0.2"))  # too soon after the other to be noted
    for _ in range(BURST):
        with pytest.raises(Unauthenticated):
            await w.authenticator.identify((f"Bearer {new_secret().text}",), here("10.0.0.2"))
    w.store.add("carol")
    await w.authenticator.refresh()  # headers of tokens that stay are remembered
    assert w.authenticator.authenticate(bearer(secret), here("10.0.0.2")).name == "ada"
    with pytest.raises(RateLimited):
        w.authenticator.authenticate(bearer(other), here("10.0.0.2"))


async def test_more_spellings_of_a_header_than_are_remembered_are_all_right(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authenticator, "MOST_HEADERS", 4)
    secret = w.store.add()
    await w.authenticator.refresh()
    for _ in range(2):
        for spaces in range(1, 9):
            assert w.authenticator.authenticate((f"bearer{' ' * spaces}{secret.text}",), here()).name == "ada"
    assert len(w.authenticator._copy.headers) == 4


async def test_call_without_a_token_is_told_how_to_send_one(w: World) -> None:
    await w.authenticator.refresh()
    with pytest.raises(Unauthenticated, match="authorization: Bearer"):
        w.authenticator.authenticate((), here())


async def test_wrong_tokens_are_refused_alike(w: World) -> None:
    secret = w.store.add()
    await w.authenticator.refresh()
    wrong_secret = f"Bearer {secret.text[:-1]}{'0' if secret.text[-1] != '0' else '1'}"
    texts = set()
    for header in (wrong_secret, f"Bearer {new_secret().text}"):
        with pytest.raises(Unauthenticated) as refused:
            await w.authenticator.identify((header,), here())
        texts.add(refused.value.message)
    assert texts == {"the token is not valid"}


@pytest.mark.parametrize("headers", [("Basic YTpi",), (b"Bearer x",), ("",), ("Bearer \x00",)])
async def test_headers_that_hold_no_token_are_refused_without_repeating_them(w: World, headers: tuple[str]) -> None:
    await w.authenticator.refresh()
    with pytest.raises(Unauthenticated) as refused:
        w.authenticator.authenticate(headers, here())
    assert "YTpi" not in refused.value.message


async def test_two_authorization_headers_are_refused_although_one_is_valid(w: World) -> None:
    secret = w.store.add()
    await w.authenticator.refresh()
    with pytest.raises(Unauthenticated):
        w.authenticator.authenticate((*bearer(secret), "Bearer x"), here())


async def test_revoked_and_expired_tokens_are_refused_by_name(w: World) -> None:
    revoked, expired = w.store.add(revoked=5.0), w.store.add(expires=1000.0)
    living = w.store.add(expires=1000.5)
    await w.authenticator.refresh()
    w.authenticator.authenticate(bearer(living), here())
    for secret, text in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(Unauthenticated, match=text):
            w.authenticator.authenticate(bearer(secret), here())
    w.wall.now = 1000.5
    with pytest.raises(Unauthenticated, match="expired"):
        w.authenticator.authenticate(bearer(living), here())


async def test_holder_of_a_wrong_secret_is_not_told_that_the_token_was_revoked(w: World) -> None:
    secret = w.store.add(revoked=5.0)
    await w.authenticator.refresh()
    guess = Secret(secret.id, secret.text[:-4] + "0000")
    with pytest.raises(Unauthenticated, match="not valid"):
        w.authenticator.authenticate(bearer(guess), here())


async def test_several_tokens_of_one_principal_are_valid_at_once(w: World) -> None:
    old, new = w.store.add("ada"), w.store.add("ada")
    await w.authenticator.refresh()
    assert {w.authenticator.authenticate(bearer(s), here()).name for s in (old, new)} == {"ada"}


async def test_token_made_by_another_server_is_found_at_its_first_call(w: World) -> None:
    await w.authenticator.refresh()
    secret = w.store.add()
    with pytest.raises(UnknownToken):
        w.authenticator.authenticate(bearer(secret), here())
    found = await w.authenticator.identify(bearer(secret), here())
    assert found.name == "ada"
    assert w.authenticator.attempts.empty


async def test_unknown_tokens_at_once_cost_few_reads(w: World) -> None:
    await w.authenticator.refresh()
    before = w.store.reads
    calls = [w.authenticator.identify(bearer(new_secret()), here(f"10.0.{i}.1")) for i in range(200)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(result, Unauthenticated) for result in results)
    assert w.store.reads - before <= 4


async def test_revocation_by_another_server_holds_after_the_next_refresh(w: World) -> None:
    secret = w.store.add()
    await w.authenticator.refresh()
    principal = w.authenticator.authenticate(bearer(secret), here())
    w.store.revoke(secret)
    await w.authenticator.refresh()
    with pytest.raises(Unauthenticated, match="revoked"):
        w.authenticator.authenticate(bearer(secret), here())
    with pytest.raises(Unauthenticated, match="revoked"):
        w.authenticator.check_alive(principal)


async def test_expiry_ends_calls_that_are_under_way(w: World) -> None:
    secret = w.store.add(expires=1001.0)
    await w.authenticator.refresh()
    principal = w.authenticator.authenticate(bearer(secret), here())
    w.authenticator.check_alive(principal)
    w.wall.now = 1001.0
    with pytest.raises(Unauthenticated, match="expired"):
        w.authenticator.check_alive(principal)


async def test_counts_of_a_token_outlive_a_refresh(w: World) -> None:
    secret = w.store.add()
    await w.authenticator.refresh()
    before = w.authenticator.authenticate(bearer(secret), here())
    w.store.add("bob")
    await w.authenticator.refresh()
    assert w.authenticator.authenticate(bearer(secret), here()).limits is before.limits


async def test_tokens_stay_valid_without_the_database_for_a_bounded_time(w: World) -> None:
    secret = w.store.add()
    await w.authenticator.refresh()
    w.store.away = True
    w.clock.now += 60.0
    w.authenticator.authenticate(bearer(secret), here())
    w.clock.now += 0.1
    with pytest.raises(NotReady, match="database") as refused:
        await w.authenticator.identify(bearer(secret), here())
    assert refused.value.retry_after_s is not None
    w.store.away = False
    await w.authenticator.refresh()
    w.authenticator.authenticate(bearer(secret), here())


# ── brute force ───────────────────────────────────────────────────────────────────────────────────────────────


async def failing(w: World, times: int, address: str = "10.0.0.1") -> None:
    for _ in range(times):
        with pytest.raises((Unauthenticated, RateLimited)):
            await w.authenticator.identify(bearer(new_secret()), here(address))


async def test_address_that_fails_too_often_is_refused_for_its_rate(w: World) -> None:
    await w.authenticator.refresh()
    await failing(w, BURST)
    with pytest.raises(RateLimited) as refused:
        w.authenticator.authenticate(bearer(new_secret()), here())
    assert 0.0 < refused.value.retry_after_s <= REFILL_S
    with pytest.raises(Unauthenticated):
        await w.authenticator.identify(bearer(new_secret()), here("10.0.0.2"))


async def test_blocked_address_may_use_the_tokens_that_it_used_before(w: World) -> None:
    known, fresh = w.store.add(), w.store.add()
    await w.authenticator.refresh()
    w.authenticator.authenticate(bearer(known), here())
    await failing(w, BURST)
    assert w.authenticator.authenticate(bearer(known), lambda: "ipv4:10.0.0.1:9999").name == "ada"
    with pytest.raises(RateLimited):
        w.authenticator.authenticate(bearer(fresh), here())
    w.clock.now += REFILL_S
    w.authenticator.authenticate(bearer(fresh), here())


async def test_guesses_at_a_token_that_its_address_uses_are_refused_and_counted(w: World) -> None:
    known = w.store.add()
    await w.authenticator.refresh()
    w.authenticator.authenticate(bearer(known), here())
    guess = Secret(known.id, known.text[:-4] + "0000")
    for _ in range(BURST):
        with pytest.raises(Unauthenticated):
            w.authenticator.authenticate(bearer(guess), here())
    for secret in (guess, new_secret()):
        with pytest.raises(RateLimited):
            w.authenticator.authenticate(bearer(secret), here())
    w.authenticator.authenticate(bearer(known), here())


async def test_malformed_tokens_and_missing_ones_differ_in_what_they_cost(w: World) -> None:
    await w.authenticator.refresh()
    for _ in range(5 * BURST):  # a client that has no token guesses nothing
        with pytest.raises(Unauthenticated):
            w.authenticator.authenticate((), here())
    assert w.authenticator.attempts.empty
    w.authenticator.attempts.failed("10.0.0.1")
    with pytest.raises(Unauthenticated):
        w.authenticator.authenticate(("Bearer nonsense",), here())
    assert not w.authenticator.attempts.empty


async def test_malformed_tokens_of_an_address_are_limited_too(w: World) -> None:
    await w.authenticator.refresh()
    for _ in range(BURST):
        with pytest.raises(Unauthenticated):
            w.authenticator.authenticate(("Bearer nonsense",), here())
    with pytest.raises(RateLimited):
        w.authenticator.authenticate(("Bearer nonsense",), here())


async def test_address_that_failed_and_never_came_back_is_forgotten(w: World) -> None:
    w.authenticator.attempts.failed("10.0.0.9")
    assert not w.authenticator.attempts.empty
    w.clock.now += 2 * REFILL_S
    assert w.authenticator.attempts.empty
