"""Which server answers the inference methods, and what a refusal counts as."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest
from grpc import aio
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from service.errors import QueueFull, ZooError
from service.observability.metrics import Metrics
from service.observability.recorder import Recorder
from service.observability.request_log import RequestLog
from service.observability.statistics import Statistics
from service.settings import load_settings
from service.wire.frontend import wiring
from service.wire.frontend.core import CoreQueue, Unsupported
from service.wire.frontend.wiring import MIB, is_supported, make_frontend, make_server
from tests.support.wire.calls import until
from tests.support.wire.frontend_methods import UNARY, Methods, code

pytestmark = pytest.mark.asyncio


def probe_says(problem: str, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    asked: list[Path] = []

    async def works(home: Path) -> str:
        asked.append(home)
        return problem

    monkeypatch.setattr(wiring.probe, "works", works)
    return asked


async def test_working_frontend_serves_the_inference_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = probe_says("", monkeypatch)
    assert await is_supported(load_settings(home=tmp_path))
    assert asked == [tmp_path]


async def test_frontend_that_does_not_work_is_logged_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe_says("a stream has no answer", monkeypatch)
    with capture_logs() as logs:
        assert not await is_supported(load_settings(home=tmp_path))
    assert [(entry["log_level"], entry["reason"]) for entry in logs] == [("warning", "a stream has no answer")]


async def test_setting_aio_asks_no_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = probe_says("", monkeypatch)
    assert not await is_supported(load_settings(home=tmp_path, frontend="aio"))
    assert asked == []


async def test_refusal_by_metadata_is_counted_and_logged_with_its_reason(tmp_path: Path) -> None:
    def refuse_unread(model: str, version: str) -> ZooError | None:
        return QueueFull(model, 1, 1, 0.25)

    metrics = CollectorRegistry()
    recorder = Recorder(Metrics(metrics), Statistics(lambda: 0))
    recorder.call_log = RequestLog()
    inference: Any = SimpleNamespace(refuse_unread=refuse_unread)
    settings = load_settings(home=tmp_path, request_memory_mib=17)
    server = aio.server()
    frontend = make_frontend(settings, server, recorder, cast(Any, inference), [Methods()])
    assert frontend.credit.limit_bytes == 17 * MIB
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    frontend.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with capture_logs() as lines:
                refused = channel.unary_unary(UNARY)(b"", metadata=(("zoo-model", "m" * 999),))
                assert await code(refused) is grpc.StatusCode.RESOURCE_EXHAUSTED
                await until(lambda: lines)  # the caller may be told first
    finally:
        frontend.close()
        await server.stop(None)
        frontend.stop()
    labels = {"model": "", "version": "", "method": "Unary", "code": "RESOURCE_EXHAUSTED"}
    assert metrics.get_sample_value("zoo_requests_total", labels) == 1
    [line] = lines
    assert (line["method"], line["reason"]) == ("Unary", "QUEUE_FULL")
    assert line["model"].startswith("mmm")
    assert len(line["model"]) < 200


async def test_grpc_aio_takes_over_where_a_remembered_probe_no_longer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def register(queue: CoreQueue, method: str) -> None:
        raise AttributeError

    monkeypatch.setattr(CoreQueue, "register", register)
    made: list[bool] = []
    inference: Any = SimpleNamespace(refuse_unread=None)

    def make(use_frontend: bool) -> aio.Server:
        made.append(use_frontend)
        server = aio.server()
        if use_frontend:
            make_frontend(load_settings(home=tmp_path), server, cast(Any, None), inference, [Methods()])
        return server

    with capture_logs() as logs:
        server = make_server(make, use_frontend=True)
    assert made == [True, False]
    assert [entry["reason"] for entry in logs] == ["it fails with AttributeError"]
    await server.start()
    await server.stop(None)


async def test_other_errors_of_making_a_server_are_not_hidden() -> None:
    def make(use_frontend: bool) -> aio.Server:
        raise OSError("no more descriptors")

    with pytest.raises(OSError, match="no more descriptors"):
        make_server(make, use_frontend=True)


async def test_server_without_one_core_server_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="expected one core server"):
        CoreQueue(cast(Any, SimpleNamespace(_server=object())))
