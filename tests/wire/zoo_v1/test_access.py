"""Tokens over the wire, by the SDK: made, listed, revoked, and tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from grpc import aio
from prometheus_client import CollectorRegistry

from service.access.authenticator import Authenticator
from service.access.scopes import Scope
from service.access.token_service import TokenService
from service.access.token_store import TokenStore
from service.access.tokens import new_secret
from service.client import AsyncClient, BadInput, IllegalMove, InvalidRequest, NotFound, TokenLimits
from service.database import Database
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.statistics import Statistics
from service.pb import access_pb2 as pb
from service.pb import access_pb2_grpc
from service.wire.access.audited import Audit
from service.wire.access.guard import Guard
from service.wire.calls import CountedServer
from service.wire.zoo_v1.access import AccessServicer
from tests.support.database.fixtures import opened
from tests.support.wire.access import bearer
from tests.support.wire.calls import until

pytestmark = pytest.mark.asyncio


@asynccontextmanager
async def served(
    url: str, *, required: bool = True, audit: Audit | None = None
) -> AsyncIterator[tuple[AsyncClient, Any]]:
    """A client with the token of an admin, and a stub without one."""
    database: Database = opened(url)
    store = TokenStore(database)
    root = new_secret()
    await store.add(root, "root", [Scope.ADMIN])
    authenticator = Authenticator(store)
    await authenticator.refresh()
    server = aio.server()
    recorder = Recorder(Metrics(CollectorRegistry()), Statistics())
    counted: Any = CountedServer(server, recorder, Guard(authenticator if required else None), audit)
    service = TokenService(store, authenticator.refresh)
    access_pb2_grpc.add_AccessServicer_to_server(AccessServicer(service, required=required), counted)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with (
            AsyncClient(f"127.0.0.1:{port}", token=root.text) as client,
            aio.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            yield client, access_pb2_grpc.AccessStub(channel)
    finally:
        await server.stop(None)
        database.close()


async def test_token_is_made_with_all_that_it_permits_and_valid_at_once(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, stub):
        until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
        limits = TokenLimits(requests_per_second=2.5, jobs=3)
        made = await client.create_token("ada", ["infer", "metrics"], models=["cat*"], limits=limits, expires=until)
        token = made.token
        assert (token.principal, token.scopes, token.models) == ("ada", ("infer", "metrics"), ("cat*",))
        assert (token.limits, token.expires, token.revoked, token.creator) == (limits, until, None, "root")
        reply = await stub.GetPrincipal(
            pb.GetPrincipalRequest(), metadata=(("authorization", f"Bearer {made.secret}"),)
        )
        assert (reply.principal, list(reply.models), reply.token_id) == ("ada", ["cat*"], token.id)


async def test_caller_learns_whom_the_server_takes_it_for(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, _):
        identity = await client.identity()
        assert (identity.principal, identity.scopes, identity.models, identity.expires) == (
            "root",
            ("admin",),
            (),
            None,
        )


async def test_secret_is_in_neither_list_nor_repr(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, _):
        made = await client.create_token("ada", ["infer"])
        secret = made.secret.rpartition("_")[2]
        listed = [token async for token in client.tokens()]
        assert secret not in f"{listed} {made!r}"
        assert [token.principal for token in listed] == ["ada", "root"]
        assert [token.principal async for token in client.tokens(principal="root")] == ["root"]


async def test_revoked_token_is_refused_and_listed_as_revoked(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, stub):
        made = await client.create_token("ada", ["infer"])
        assert (await client.revoke_token(made.token.id)).revoked is not None
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.GetPrincipal(pb.GetPrincipalRequest(), metadata=(("authorization", f"Bearer {made.secret}"),))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        [listed] = [token async for token in client.tokens(principal="ada")]
        assert listed.revoked is not None


async def test_pages_list_every_token(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, _):
        for i in range(60):
            await client.create_token(f"p{i}", ["infer"])
        assert len({token.id async for token in client.tokens()}) == 61


PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"principal": ""}, "principal"),
        ({"principal": "a b"}, "principal"),
        ({"principal": "a" * 65}, "principal"),
        ({"scopes": []}, "scopes"),
        ({"models": ["a b"]}, "models[0]"),
        ({"models": ["x"] * 65}, "models"),
        ({"expires": PAST}, "expire_time"),
        ({"expires": datetime(9999, 1, 1, tzinfo=UTC)}, "expire_time"),
        ({"limits": TokenLimits(requests_per_second=-1.0)}, "limits.requests_per_second"),
        ({"limits": TokenLimits(rows_per_second=float("nan"))}, "limits.rows_per_second"),
        ({"limits": TokenLimits(requests_per_second=float("inf"))}, "limits.requests_per_second"),
        ({"limits": TokenLimits(jobs=-3)}, "limits.jobs"),
        ({"limits": TokenLimits(requests_per_second=1e-290)}, "limits.requests_per_second"),
    ],
)
async def test_wrong_field_is_named(sqlite_url: str, fields: dict[str, Any], field: str) -> None:
    async with served(sqlite_url) as (client, _):
        given: dict[str, Any] = {"principal": "ada", "scopes": ["infer"], **fields}
        with pytest.raises(InvalidRequest) as caught:
            await client.create_token(given.pop("principal"), given.pop("scopes"), **given)
        assert caught.value.field == field


async def test_unknown_scopes_are_refused_on_both_sides(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, stub):
        for scope in ("fly", "", "unspecified"):
            with pytest.raises((BadInput, InvalidRequest)):
                await client.create_token("ada", [scope])
        admin = client._connection.metadata
        for number in (0, 99, -1):
            with pytest.raises(aio.AioRpcError) as caught:
                await stub.CreateToken(pb.CreateTokenRequest(principal="ada", scopes=[number]), metadata=admin)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_time_without_a_zone_is_refused(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, _):
        with pytest.raises(BadInput, match="zone"):
            await client.create_token("ada", ["infer"], expires=datetime(2030, 1, 1))


async def test_unknown_token_cannot_be_revoked(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, _):
        with pytest.raises(NotFound):
            await client.revoke_token("0" * 16)
        with pytest.raises(InvalidRequest):
            await client.revoke_token("")


async def test_server_without_tokens_makes_none_over_the_wire(sqlite_url: str) -> None:
    async with served(sqlite_url, required=False) as (client, stub):
        with pytest.raises(IllegalMove, match="ZOO_TOKENS"):
            await client.create_token("ada", ["admin"])
        reply = await stub.GetPrincipal(pb.GetPrincipalRequest(), metadata=bearer(new_secret()))
        assert reply.principal == ""
        assert len(reply.scopes) == len(Scope)


@pytest.mark.parametrize(("seconds", "nanos"), [(10**18, 0), (253402300800, 0), (1, -5), (1, 2**31 - 1), (-1, 0)])
async def test_time_that_no_timestamp_has_is_refused(sqlite_url: str, seconds: int, nanos: int) -> None:
    async with served(sqlite_url) as (client, stub):
        request = pb.CreateTokenRequest(principal="ada", scopes=[pb.SCOPE_INFER])
        request.expire_time.seconds, request.expire_time.nanos = seconds, nanos
        with pytest.raises(aio.AioRpcError) as caught:
            await stub.CreateToken(request, metadata=client._connection.metadata)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_patterns_beside_the_scope_of_an_admin_are_refused(sqlite_url: str) -> None:
    async with served(sqlite_url) as (client, _):
        with pytest.raises(InvalidRequest) as caught:
            await client.create_token("ada", ["admin"], models=["cat*"])
        assert caught.value.field == "models"


async def test_token_of_a_caller_who_leaves_is_recorded_with_its_id(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit, began, gate, add = Recorded(), asyncio.Event(), asyncio.Event(), TokenStore.add

    async def slow(*arguments: Any, **fields: Any) -> Any:
        began.set()
        await gate.wait()
        return await add(*arguments, **fields)

    async with served(sqlite_url, audit=audit) as (client, stub):
        monkeypatch.setattr(TokenStore, "add", slow)
        request = pb.CreateTokenRequest(principal="ada", scopes=[pb.SCOPE_INFER])
        call = stub.CreateToken(request, metadata=client._connection.metadata)
        await began.wait()
        call.cancel()
        gate.set()
        await until(lambda: audit.made)
        assert audit.made == {token.id async for token in client.tokens(principal="ada")}


class Recorded(Audit):
    """The ids of the tokens that are recorded as made."""

    def __init__(self) -> None:
        super().__init__()
        self.made: set[str] = set()

    def record(self, path: str, request: Any, reply: Any, outcome: str, call: Any) -> None:
        if outcome == "OK" and path.endswith("/CreateToken"):
            self.made.add(reply.token.id)
