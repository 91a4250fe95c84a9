"""Stock clients over TLS, with and without certificates of their own: Triton's, KServe's, and grpc's health client."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tests.stock_clients.triton_calls import RNN, TRANSFORMER, inputs
from tests.support.end_to_end.server_process import REPOSITORY, TIMEOUT_S, ServerProcess

TEXTS = inputs(text=[b"A cat sleeps on the sofa."])


@dataclass
class Secured:
    process: ServerProcess
    folder: Path

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def client(self, ca: str = "ca.crt", certificate: str = "") -> triton.InferenceServerClient:
        pair = (self.file(f"{certificate}.key"), self.file(f"{certificate}.crt")) if certificate else (None, None)
        return triton.InferenceServerClient(
            f"localhost:{self.process.port}",
            ssl=True,
            root_certificates=self.file(ca),
            private_key=pair[0],
            certificate_chain=pair[1],
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, made in Zoo's own environment."""
    made = tmp_path_factory.mktemp("certificates")
    python = REPOSITORY / ".venv" / "bin" / "python"
    command = [str(python), "-m", "tests.support.certificates", str(made)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=TIMEOUT_S)
    return made


def _serving(folder: Path, **settings: str) -> Iterator[Secured]:
    files = {"ZOO_TLS_CERT_FILE": str(folder / "server.crt"), "ZOO_TLS_KEY_FILE": str(folder / "server.key")}
    with ServerProcess("--model", TRANSFORMER, "--model", RNN, cold=True, **files, **settings) as process:
        yield Secured(process.ready(), folder)
    process.assert_log_is_clean()


@pytest.fixture(scope="module")
def secured(folder: Path) -> Iterator[Secured]:
    """A server with TLS."""
    yield from _serving(folder)


@pytest.fixture(scope="module")
def mutual(folder: Path) -> Iterator[Secured]:
    """A server that wants certificates of clients."""
    yield from _serving(folder, ZOO_TLS_CLIENT_CA_FILE=str(folder / "ca.crt"))


def assert_answers(client: triton.InferenceServerClient) -> None:
    assert client.is_server_ready()
    reply = client.infer(TRANSFORMER, TEXTS)
    assert reply.as_numpy("embedding").shape == (1, 384)


def test_triton_client_infers_over_tls(secured: Secured) -> None:
    with secured.client() as client:
        assert_answers(client)


def test_triton_client_streams_over_tls(secured: Secured) -> None:
    replies: list[object] = []
    with secured.client() as client:
        client.start_stream(lambda result, error: replies.append(error or result))
        for _ in range(3):
            client.async_stream_infer(RNN, inputs(samples=np.zeros((1, 1000), np.float32)))
        client.stop_stream()
    assert [type(reply).__name__ for reply in replies] == ["InferResult"] * 3


def test_triton_asyncio_client_infers_over_tls(secured: Secured) -> None:
    async def run() -> tuple[int, ...]:
        client = triton_aio.InferenceServerClient(
            f"localhost:{secured.process.port}", ssl=True, root_certificates=secured.file("ca.crt")
        )
        async with client:
            reply = await client.infer(TRANSFORMER, TEXTS)
            return tuple(reply.as_numpy("embedding").shape)

    assert asyncio.run(run()) == (1, 384)


def test_triton_client_without_tls_is_not_answered(secured: Secured) -> None:
    with triton.InferenceServerClient(secured.process.target) as client, pytest.raises(InferenceServerException):
        client.is_server_live()


def test_triton_client_infers_with_its_certificate(mutual: Secured) -> None:
    with mutual.client(certificate="client") as client:
        assert_answers(client)


@pytest.mark.parametrize("certificate", ["", "other", "expired"])
def test_triton_client_without_a_valid_certificate_is_refused(mutual: Secured, certificate: str) -> None:
    with mutual.client(certificate=certificate) as client, pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        client.is_server_live()
    with mutual.client(certificate="client") as client:
        assert client.is_server_live()


def test_kserve_client_infers_over_tls(secured: Secured) -> None:
    script = Path(__file__).with_name("kserve_tls.py")
    command = [sys.executable, str(script), f"localhost:{secured.process.port}", secured.file("ca.crt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {"live": True, "ready": True, "shape": [1, 384]}
