"""One server for all tests that do not change it; tests of start, stop and restart start their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.end_to_end.server_process import ServerProcess, zoo_home
from tests.support.end_to_end.stubs import CNN, TRANSFORMER, Stubs, stubs_of
from tests.support.end_to_end.user_data import (
    flats_csv,
    photos_zip,
    styles_csv,
    topics_csv,
)
from tests.support.end_to_end.workshop import RestartableServer, TunedModels


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips these tests if the weights are not on this machine."""
    if any((zoo_home() / "weights" / "by-card").glob("*.json")) or os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
        return
    missing = pytest.mark.skip(reason=f"no weights in {zoo_home()}; `make unit` fetches them")
    for item in items:
        if "end_to_end" in item.path.parts:
            item.add_marker(missing)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """A ready server with the default models. At the end its log must be clean."""
    # One lane: a long call then keeps the device busy on any number of cores. Servers of other tests use the default.
    with ServerProcess(cold=True, ZOO_LANES="1") as process:
        yield process.ready()
    process.assert_log_is_clean()


@pytest.fixture(scope="session")
def stubs(server: ServerProcess) -> Iterator[Stubs]:
    """Raw stubs of every service over one channel to `server`."""
    with stubs_of(server) as made:
        yield made


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TunedModels]:
    """A CNN tuned on photos, a Transformer on topics, an RNN on styles, and an uploaded table, on a server of their own."""
    folder = tmp_path_factory.mktemp("user")
    files = {
        "pets": photos_zip(folder / "photos.zip"),
        "topics": topics_csv(folder / "topics.csv"),
        "styles": styles_csv(folder / "styles.csv"),
        "flats": flats_csv(folder / "flats.csv"),
    }
    with RestartableServer(folder / "home") as workshop:
        client = workshop.client
        columns = {"flats": {"target": "rent"}}
        data = {name: client.upload_dataset(path, columns=columns.get(name)) for name, path in files.items()}
        bases = {"pets": CNN, "topics": TRANSFORMER, "styles": "char_lstm"}
        jobs = {name: client.create_job(base, data[name].id, name) for name, base in bases.items()}
        yield TunedModels(workshop, data, {name: workshop.succeeded(job) for name, job in jobs.items()})
