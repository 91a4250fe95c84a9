"""The server as a process. No module of Zoo is imported: the clients know the server only through the protocol."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton

from tests.support.end_to_end.server_process import (
    EXAMPLES,
    REPOSITORY,
    TIMEOUT_S,
    ServerProcess,
)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A ready server with the default models. At the end its log must be clean."""
    with ServerProcess(cold=True) as process:
        yield process.ready()
    process.assert_log_is_clean()


@pytest.fixture(scope="session")
def client(server: ServerProcess) -> Iterator[triton.InferenceServerClient]:
    """Triton's stock client."""
    with triton.InferenceServerClient(server.target) as made:
        yield made


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Unusual images, sounds and hostile files by name, generated in Zoo's own environment, with photos and speech."""
    folder = tmp_path_factory.mktemp("samples")
    python = REPOSITORY / ".venv" / "bin" / "python"
    command = [str(python), "-m", "tests.support.end_to_end.samples", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=TIMEOUT_S)
    return {
        path.name: path.read_bytes() for path in [*folder.iterdir(), *EXAMPLES.glob("*.jpg"), *EXAMPLES.glob("*.flac")]
    }


@pytest.fixture(autouse=True)
def _no_module_of_zoo_is_imported() -> Iterator[None]:
    yield
    assert not {"service", "model_zoo"} & set(sys.modules)


def pytest_report_header() -> str:
    return f"clients of {Path(sys.executable).parent.parent}"
