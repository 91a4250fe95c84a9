"""Envoy with the TLS that docs/operations.md adds to its configuration, on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from service.client import Client, Segments, ServerUnreachable, Tls
from tests.support.certificates import Authority
from tests.support.end_to_end.envoy import envoy
from tests.support.end_to_end.samples import wav
from tests.support.end_to_end.server_process import ServerProcess
from tests.support.end_to_end.stubs import RNN
from tests.support.paths import REPOSITORY

SOUND = wav(np.zeros(512, np.float32))


def documented(kind: str) -> dict[str, Any]:
    """The block of the page that holds a kind of context."""
    blocks = (REPOSITORY / "docs" / "operations.md").read_text().split("```yaml\n")[1:]
    [found] = [block.split("```")[0] for block in blocks if kind in block]
    return dict(yaml.safe_load(found))


@pytest.mark.component
def test_documented_tls_of_envoy_serves_clients_that_trust_its_certificate(tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.issue(hosts=("zoo.example",)).write(tmp_path, "server")
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    assert (cert.name, key.name) == ("server.crt", "server.key")

    def add(listener: dict[str, Any], cluster: dict[str, Any]) -> None:
        listener["filter_chains"][0] |= documented("DownstreamTlsContext")
        cluster |= documented("UpstreamTlsContext")

    settings = {"ZOO_TLS_CERT_FILE": str(cert), "ZOO_TLS_KEY_FILE": str(key)}
    with ServerProcess("--model", RNN, **settings) as server:
        server.ready()
        with envoy(tmp_path, [server.port], add) as address:
            trusting = Tls(ca_file=str(tmp_path / "ca.crt"), server_name="zoo.example")
            with Client(address, tls=trusting) as client:
                [found] = client.predict(RNN, SOUND)
            assert isinstance(found, Segments)
            with Client(address) as client, pytest.raises(ServerUnreachable):
                client.predict(RNN, SOUND)
