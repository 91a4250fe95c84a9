"""A server on a Unix socket: every client reaches it, its file has its permissions, and a dead server's file is replaced."""

from __future__ import annotations

import asyncio
import shlex
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from service.client import AsyncClient, Client, Embedding
from tests.support.end_to_end.preloaded import refuses_to_start, run_preloaded
from tests.support.end_to_end.server_process import (
    BEYOND_LOOPBACK,
    REPOSITORY,
    TIMEOUT_S,
    ServerProcess,
    environment,
)
from tests.support.end_to_end.stubs import TRANSFORMER, stubs_of


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="zoo-") as folder:  # pytest's own names are too long for a socket
        yield Path(folder) / "zoo.sock"


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[ServerProcess]:
    """The second server on the socket: the first was killed."""
    with pytest.raises(FileNotFoundError):
        path.stat()
    killed = ServerProcess("--host", f"unix:{path}", "--model", TRANSFORMER).live()
    killed.process.kill()
    assert killed.wait() == -signal.SIGKILL
    assert path.is_socket()
    with ServerProcess("--host", f"unix:{path}", "--model", TRANSFORMER) as process:
        yield process.ready()
    process.assert_log_is_clean()
    assert not path.exists()


def test_only_the_servers_user_may_connect(server: ServerProcess, path: Path) -> None:
    assert server.target == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_sdk_health_and_reflection_work_over_the_socket(server: ServerProcess) -> None:
    async def ask() -> list[object]:
        async with AsyncClient(server.target) as client:
            return [await client.ready(), *await client.predict(TRANSFORMER, "hello")]

    with Client(server.target) as client:
        assert client.status().ready
        assert isinstance(client.predict(TRANSFORMER, "hello")[0], Embedding)
    ready, answer = asyncio.run(ask())
    assert ready is True
    assert isinstance(answer, Embedding)
    with stubs_of(server) as stubs:
        assert stubs.serving()
    with grpc.insecure_channel(server.target) as channel:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (reply,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([request]), timeout=TIMEOUT_S
        )
        assert "zoo.v1.Prediction" in {service.name for service in reply.list_services_response.service}
    assert "zoo_requests_total" in server.get("/metrics")


def test_printed_command_works_as_it_is_pasted(server: ServerProcess, path: Path) -> None:
    server.wait_for_line("zoo predict ")
    (line,) = [line.strip() for line in server.out if " predict " in line]
    assert f" --server unix:{path} " in line
    done = subprocess.run(
        shlex.split(line), cwd=REPOSITORY, env=environment(), capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr


def test_commands_take_the_socket_by_option_and_by_environment(server: ServerProcess, path: Path) -> None:
    done = run_preloaded("status", "--server", f"unix:{path.name}", cwd=path.parent)
    assert done.returncode == 0, done.stderr
    assert f"unix:{path} is live and ready" in done.stdout
    assert run_preloaded("status", ZOO_SERVER=server.target).returncode == 0
    absent = run_preloaded("status", "--server", f"unix:{path}.none")
    assert absent.returncode == 2
    assert f"no server answers at unix:{path}.none" in absent.stdout + absent.stderr


def test_second_server_is_refused_and_the_first_keeps_its_socket(server: ServerProcess, path: Path) -> None:
    ended = refuses_to_start(ZOO_HOST=server.target)
    assert ended == f"cannot listen on unix:{path} for gRPC; is another server running there?"
    with Client(server.target) as client:
        assert client.ready()


def test_socket_where_no_folder_is_is_refused_with_its_reason(path: Path) -> None:
    ended = refuses_to_start(ZOO_HOST=f"unix:{path.parent}/no/zoo.sock")
    assert ended == f"cannot listen on unix:{path.parent}/no/zoo.sock for gRPC: no such file or directory"


def test_shared_memory_beyond_this_machine_is_refused_at_the_start() -> None:
    assert refuses_to_start(ZOO_HOST="0.0.0.0", ZOO_SHARED_MEMORY="system", **BEYOND_LOOPBACK) == (
        "ZOO_SHARED_MEMORY is 'system': expected a loopback address or a unix: socket as ZOO_HOST, got '0.0.0.0', where callers "
        "of other machines can connect"
    )
