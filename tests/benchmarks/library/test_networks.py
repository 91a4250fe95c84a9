"""The folders of `make bench-zoo` are those that the libraries read."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.library.networks import CNN, ENCODER, NETWORKS, Published
from benchmarks.library.participant import Library, raw_inputs
from model_zoo.store import Store
from tests.support.end_to_end.server_process import zoo_home

WRITERS = {network.name: network for network in NETWORKS}


@pytest.mark.parametrize("name", [CNN, ENCODER])
def test_library_answers_from_the_folder_with_published_weights(tmp_path: Path, name: str) -> None:
    network = WRITERS[name]
    network.write(tmp_path, Store(zoo_home()))
    library = Library(network.library, str(tmp_path))
    found = library.sweep(0.001)
    assert found["rows"] in (1, 4, 8, 16, 32)
    assert library.rate(2, 0.001)["rows_s"] > 0
    assert library.single(0.001)["p50_ms"] > 0


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_library_gets_the_inputs_that_callers_send(network: Published) -> None:
    raw = raw_inputs(network.library)
    assert len(raw) == {"image": 3, "text": 4, "audio": 1}[network.raw_input]
