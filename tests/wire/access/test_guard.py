"""Calls are admitted by their tokens, the same over both frontends: with the real pipeline, registry and scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from service.access.attempts import BURST
from service.access.rate_limits import Limits
from service.access.scopes import Scope
from service.access.tokens import new_secret
from service.pb import open_inference_pb2 as pb
from tests.support.registry.fakes import World
from tests.support.scheduler.fakes import until
from tests.support.wire.access import Access, bearer
from tests.support.wire.open_inference import asks, served_on_port
from tests.support.wire.raw_http2 import END_STREAM, connected

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("each_frontend")]

Metadata = Sequence[tuple[str, str]]
Code = grpc.StatusCode


@dataclass
class Guarded:
    w: World
    stub: Any
    access: Access
    port: int

    async def refused(self, metadata: Metadata, *values: float, **fields: Any) -> aio.AioRpcError:
        """The error of an inference request."""
        with pytest.raises(aio.AioRpcError) as caught:
            await self.stub.ModelInfer(asks(*(values or (1.0,)), **fields), metadata=metadata)
        return caught.value

    async def answered(self, metadata: Metadata, *values: float) -> None:
        """An inference request is answered."""
        reply = await self.stub.ModelInfer(asks(*(values or (1.0,))), metadata=metadata)
        assert reply.model_name == "adder"


@asynccontextmanager
async def guarded(*, defaults: Limits | None = None, **options: Any) -> AsyncIterator[Guarded]:
    access = Access(defaults)
    await access.authenticator.refresh()
    async with served_on_port(guard=access.guard, **options) as (w, stub, port):
        yield Guarded(w, stub, access, port)


def retry_s(error: aio.AioRpcError) -> float | None:
    """When the call may be tried again, as its details say."""
    metadata = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(metadata["grpc-status-details-bin"])  # type: ignore[arg-type]
    info = error_details_pb2.RetryInfo()
    return next((info.retry_delay.ToNanoseconds() / 1e9 for detail in status.details if detail.Unpack(info)), None)


async def test_call_with_a_valid_token_is_answered() -> None:
    async with guarded() as g:
        await g.answered(await g.access.token())


async def test_call_without_a_token_is_told_how_to_send_one() -> None:
    async with guarded() as g:
        error = await g.refused(())
        assert error.code() is Code.UNAUTHENTICATED
        assert "authorization: Bearer" in (error.details() or "")


@pytest.mark.parametrize(
    ("fields", "text"), [({"expires": 1.0}, "expired"), ({"revoked": 1.0}, "revoked")], ids=["expired", "revoked"]
)
async def test_call_with_a_token_that_has_ended_is_unauthenticated(fields: dict[str, float], text: str) -> None:
    async with guarded() as g:
        error = await g.refused(await g.access.token(**fields))
        assert (error.code(), text in (error.details() or "")) == (Code.UNAUTHENTICATED, True)


async def test_call_with_a_token_of_another_scope_is_denied() -> None:
    async with guarded() as g:
        error = await g.refused(await g.access.token(scope=Scope.FINETUNE))
        assert error.code() is Code.PERMISSION_DENIED
        assert "'infer'" in (error.details() or "")


@pytest.mark.parametrize("model", ["adder", "nobody"])
async def test_call_for_a_model_beyond_the_token_is_denied_whether_or_not_it_exists(model: str) -> None:
    async with guarded() as g:
        token = await g.access.token(models=("other*",))
        for metadata in (token, (*token, ("zoo-model", model))):
            error = await g.refused(metadata, model=model)
            assert (error.code(), error.details()) == (
                Code.PERMISSION_DENIED,
                f"the token does not permit the model {model!r}",
            )


async def test_hint_of_a_permitted_model_opens_no_other() -> None:
    async with guarded() as g:
        token = await g.access.token(models=("other",))
        error = await g.refused((*token, ("zoo-model", "other")))
        assert error.code() in (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT)


async def test_names_of_models_beyond_the_token_are_not_suggested() -> None:
    async with guarded() as g:
        token = await g.access.token(models=("adde", "x*"))
        error = await g.refused(token, model="adde")
        assert (error.code(), error.details()) == (Code.NOT_FOUND, "unknown model 'adde'")
        assert "adder" in ((await g.refused(await g.access.token(), model="adde")).details() or "")


async def test_lists_of_models_leave_out_those_beyond_the_token() -> None:
    async with guarded() as g:
        few, all_ = await g.access.token(models=("x*",)), await g.access.token()
        for method, request, field in (
            (g.stub.RepositoryIndex, pb.RepositoryIndexRequest(), "models"),
            (g.stub.ModelStatistics, pb.ModelStatisticsRequest(), "model_stats"),
        ):
            assert len(getattr(await method(request, metadata=few), field)) == 0
            assert len(getattr(await method(request, metadata=all_), field)) == 1


async def test_control_method_for_a_model_beyond_the_token_is_denied() -> None:
    async with guarded() as g:
        token = await g.access.token(scope=Scope.MODELS, models=("x*",))
        for request in (
            pb.RepositoryModelUnloadRequest(model_name="adder"),
            pb.RepositoryModelUnloadRequest(repository_name="adder"),
        ):
            with pytest.raises(aio.AioRpcError) as caught:
                await g.stub.RepositoryModelUnload(request, metadata=token)
            assert caught.value.code() is Code.PERMISSION_DENIED
        await g.answered(await g.access.token())


async def test_token_in_the_message_or_under_another_key_is_not_accepted() -> None:
    async with guarded() as g:
        secret = g.access.tokens.add()
        await g.access.authenticator.refresh()
        request = asks(1.0, request_id=secret.text)
        request.parameters["authorization"].string_param = f"Bearer {secret.text}"
        for key in ("zoo-token", "x-authorization", "authorization-bin", "proxy-authorization"):
            value: Any = secret.text.encode() if key.endswith("-bin") else f"Bearer {secret.text}"
            with pytest.raises(aio.AioRpcError) as caught:
                await g.stub.ModelInfer(request, metadata=((key, value),))
            assert caught.value.code() is Code.UNAUTHENTICATED
            assert secret.text not in (caught.value.details() or "")


async def test_two_authorizations_are_refused() -> None:
    async with guarded() as g:
        token = await g.access.token()
        assert (await g.refused((*token, *token))).code() is Code.UNAUTHENTICATED


async def test_token_that_another_server_made_is_valid_at_its_first_call() -> None:
    async with guarded() as g:
        await g.answered(bearer(g.access.tokens.add()))


async def test_unknown_token_is_unauthenticated() -> None:
    async with guarded() as g:
        assert (await g.refused(bearer(new_secret()))).code() is Code.UNAUTHENTICATED


async def test_caller_who_leaves_while_the_token_is_looked_up_strands_nothing() -> None:
    async with guarded() as g:
        calls = [g.stub.ModelInfer(asks(1.0), metadata=bearer(new_secret())) for _ in range(BURST - 1)]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        await g.answered(await g.access.token())


async def test_brute_force_is_slowed_down_and_leaves_a_working_client_alone() -> None:
    async with guarded() as g:
        working = await g.access.token()
        await g.answered(working)
        codes = [(await g.refused(bearer(new_secret()))).code() for _ in range(BURST + 5)]
        assert codes[:BURST] == [Code.UNAUTHENTICATED] * BURST
        error = await g.refused(bearer(new_secret()))
        assert error.code() is Code.RESOURCE_EXHAUSTED
        assert 0 < (retry_s(error) or 0) <= 1.0
        await g.answered(working)


async def test_database_that_is_away_stops_calls_only_after_a_while() -> None:
    async with guarded() as g:
        token = await g.access.token()
        g.access.tokens.away = True
        await g.answered(token)
        g.access.authenticator._read_at -= 61.0
        error = await g.refused(token)
        assert error.code() is Code.UNAVAILABLE
        assert retry_s(error) is not None
        g.access.tokens.away = False
        await g.access.authenticator.refresh()
        await g.answered(token)


async def test_megabyte_of_metadata_is_refused_and_the_connection_lives() -> None:
    async with guarded() as g:
        token = await g.access.token()
        error = await g.refused((*token, ("x-filler", "y" * 1_000_000)))
        assert error.code() in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE, Code.INTERNAL)
        await g.answered(token)


# ── limits ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_call_beyond_the_rate_is_refused_with_the_time_to_wait() -> None:
    async with guarded() as g:
        token = await g.access.token(limits=Limits(requests_per_second=0.5))
        await g.answered(token)
        error = await g.refused(token)
        assert error.code() is Code.RESOURCE_EXHAUSTED
        assert 0 < (retry_s(error) or 0) <= 2.0
        assert int(dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"]) <= 2000
        await g.answered(await g.access.token("bob"))


async def test_server_default_holds_for_tokens_without_a_limit() -> None:
    async with guarded(defaults=Limits(requests_per_second=0.5)) as g:
        token = await g.access.token()
        await g.answered(token)
        assert (await g.refused(token)).code() is Code.RESOURCE_EXHAUSTED
        generous = await g.access.token(limits=Limits(requests_per_second=1000))
        await g.answered(generous)
        await g.answered(generous)


async def test_rows_beyond_the_rate_are_refused() -> None:
    async with guarded() as g:
        token = await g.access.token(limits=Limits(rows_per_second=2.0))
        await g.answered(token, 1.0, 2.0)
        error = await g.refused(token, 1.0, 2.0)
        assert (error.code(), "2 rows a second" in (error.details() or "")) == (Code.RESOURCE_EXHAUSTED, True)


async def test_calls_at_once_are_bounded_and_end_with_the_calls() -> None:
    async with guarded() as g:
        token = await g.access.token(limits=Limits(concurrent_requests=2))
        gate = g.w.runtime().gate
        gate.clear()
        calls = [asyncio.ensure_future(g.stub.ModelInfer(asks(1.0), metadata=token)) for _ in range(2)]
        await until(lambda: g.w.sample("zoo_in_flight_requests", model="adder", version="1") == 2)
        assert "2 requests under way" in ((await g.refused(token)).details() or "")
        calls[0].cancel()
        gate.set()
        await asyncio.gather(*calls, return_exceptions=True)
        [entry] = g.access.authenticator._copy.entries.values()
        limits = entry.principal.limits
        assert limits is not None
        await until(lambda: limits.running == 0)
        await g.answered(token)


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
async def test_calls_that_send_no_message_count_among_those_at_once_and_leave_others_alone(method: str) -> None:
    async with guarded() as g:
        holder = await g.access.token(limits=Limits(concurrent_requests=2))
        async with connected(g.port) as raw:
            for stream in (1, 3, 5):  # in this order: they are of one connection
                raw.headers(stream, f"/inference.GRPCInferenceService/{method}", **dict(holder))
            assert await raw.status(5) == Code.RESOURCE_EXHAUSTED.value[0]
            assert 1 not in raw.statuses
            assert 3 not in raw.statuses
            await g.answered(await g.access.token("bob"))


async def test_refused_calls_leave_nothing_among_those_at_once() -> None:
    async with guarded() as g:
        token = await g.access.token(limits=Limits(concurrent_requests=1, rows_per_second=1.0))
        await g.answered(token)
        for _ in range(5):
            await g.refused(token, 1.0, 2.0, 3.0)
            await g.refused(token, model="nobody")
        [entry] = g.access.authenticator._copy.entries.values()
        limits = entry.principal.limits
        assert limits is not None
        await until(lambda: limits.running == 0)


# ── streams ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_stream_without_a_token_is_unauthenticated() -> None:
    async with guarded() as g:
        # It writes no message: grpc.aio gives INTERNAL for a stream that ends while its client writes.
        with pytest.raises(aio.AioRpcError) as caught:
            await g.stub.ModelStreamInfer().read()
        assert caught.value.code() is Code.UNAUTHENTICATED


async def test_stream_of_a_token_that_another_server_made_is_answered() -> None:
    async with guarded() as g:
        stream = g.stub.ModelStreamInfer(iter([asks(1.0)]), metadata=bearer(g.access.tokens.add()))
        [reply] = [reply async for reply in stream]
        assert reply.infer_response.model_name == "adder"


async def test_request_of_a_stream_beyond_the_token_fails_alone() -> None:
    async with guarded() as g:
        token = await g.access.token(models=("adder",), limits=Limits(rows_per_second=2.0))
        sent = [asks(1.0), asks(1.0, model="nobody"), asks(1.0), asks(1.0, 1.0)]
        replies = [reply async for reply in g.stub.ModelStreamInfer(iter(sent), metadata=token)]
        errors = sorted(reply.error_message for reply in replies)
        assert errors[:2] == ["", ""]
        assert "does not permit the model 'nobody'" in errors[2] + errors[3]
        assert "2 rows a second" in errors[2] + errors[3]


async def test_request_after_the_revocation_of_its_token_fails_on_an_open_stream() -> None:
    async with guarded() as g:
        secret = g.access.tokens.add()
        await g.access.authenticator.refresh()
        stream = g.stub.ModelStreamInfer(metadata=bearer(secret))
        await stream.write(asks(1.0))
        assert (await stream.read()).error_message == ""
        g.access.tokens.revoke(secret)
        await g.access.authenticator.refresh()
        await stream.write(asks(1.0))
        assert "revoked" in (await stream.read()).error_message
        await stream.done_writing()
        assert await stream.read() is aio.EOF  # type: ignore[attr-defined]


async def test_requests_of_a_stream_count_among_those_at_once_until_they_end() -> None:
    async with guarded() as g:
        token = await g.access.token(limits=Limits(concurrent_requests=2))
        gate = g.w.runtime().gate
        gate.clear()
        stream = g.stub.ModelStreamInfer(metadata=token)
        for _ in range(3):
            await stream.write(asks(1.0))
        assert "2 requests under way" in (await stream.read()).error_message
        stream.cancel()
        gate.set()
        [entry] = g.access.authenticator._copy.entries.values()
        limits = entry.principal.limits
        assert limits is not None
        await until(lambda: limits.running == 0)
        await g.answered(token)


# ── before a message is read ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["ModelInfer", "ServerMetadata", "RepositoryModelLoad"])
async def test_stranger_is_refused_before_the_message_is_read(method: str) -> None:
    async with guarded() as g, connected(g.port) as raw:
        raw.headers(1, f"/inference.GRPCInferenceService/{method}")
        assert await raw.status(1) == Code.UNAUTHENTICATED.value[0]


async def test_call_without_a_message_is_answered() -> None:
    async with guarded() as g, connected(g.port) as raw:
        token = dict(await g.access.token())["authorization"]
        raw.headers(1, "/inference.GRPCInferenceService/ServerMetadata", authorization=token)
        raw.data(1, b"", END_STREAM)
        assert await raw.status(1) != Code.OK.value[0]
