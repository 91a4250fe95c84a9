"""Shared by all tests: the home of the real weights, the real models on their runtime, and which tests run in one process."""

import gc
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from model_zoo.cards.card import Card
from tests.support.database.fixtures import (  # one PostgreSQL for all tests of a process
    postgres,
    postgres_with_tables,
    sqlite_url,
    sqlite_with_tables,
    tables_url,
    url,
)

__all__ = ["postgres", "postgres_with_tables", "sqlite_url", "sqlite_with_tables", "tables_url", "url"]

REPOSITORY = Path(__file__).resolve().parent.parent


def _drop(logger: object, method: str, event: object) -> Any:
    raise structlog.DropEvent


# The same examples at every run, and no test fails because the machine is busy.
hypothesis.settings.register_profile(
    "zoo", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("zoo")

# Nothing is printed; `structlog.testing.capture_logs` still sees every line.
structlog.configure(processors=[_drop])


SLOW_FOLDERS = {"end_to_end", "recorded", "deploy"}
"""All tests in them start servers."""
SLOW_MARKERS = ("weights", "component")
SLOW_MODULES = (
    "tests/benchmarks/gpu/test_requirements.py",
    "tests/benchmarks/library/test_networks.py",
    "tests/benchmarks/simulation/",
    "tests/cli/commands/inventory/test_lock.py",
    "tests/cli/test_command_lines.py",
    "tests/cli/test_command_process.py",
    "tests/client/_async/test_prediction_stream.py",
    "tests/database/",
    "tests/datasets/upload/",
    "tests/datasets/validation/test_validate.py",
    "tests/engine/test_served_head.py",
    "tests/engine/test_served_model_cancellation.py",
    "tests/faults/test_damaged_datasets.py",
    "tests/faults/test_damaged_jobs.py",
    "tests/faults/test_damaged_versions.py",
    "tests/faults/test_doctor.py",
    "tests/jobs/",
    "tests/model_zoo/sources/test_pypi.py",
    "tests/model_zoo/test_store.py",
    "tests/references/generation/test_pull_",
    "tests/references/onnx/test_pull",
    "tests/references/test_adapters.py",
    "tests/references/test_footprint.py",
    "tests/references/test_locked_pull.py",
    "tests/references/test_pull",
    "tests/references/texts/test_pull_",
    "tests/registry/loading/test_head_loading.py",
    "tests/registry/loading/test_head_loading_in_fp32.py",
    "tests/registry/loading/test_load_unload.py",
    "tests/registry/loading/test_loader.py",
    "tests/registry/versions/test_replica_sync.py",
    "tests/runtime/compilers/",
    "tests/runtime/lanes/test_process_deaths.py",
    "tests/runtime/lanes/test_processes.py",
    "tests/runtime/test_allocator.py",
    "tests/scheduler/test_policy_under_load.py",
    "tests/tasks/test_batched_equals_single.py",
    "tests/test_settings.py",
    "tests/training/data/test_features.py",
    "tests/training/methods/",
    "tests/training/test_worker.py",
    "tests/verification/test_probes.py",
    "tests/wire/test_generated_code.py",
    "tests/wire/test_keepalive.py",
    "tests/wire/test_prometheus_scrape.py",
    "tests/wire/zoo_v1/test_models.py",
    "tests/wire/zoo_v1/test_versions.py",
)
"""They start processes, compile, train or simulate, load many networks, or wait for pings."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Modules of slow tests are not even imported where no slow test is wanted."""
    if config.option.markexpr != "not slow" or not collection_path.is_relative_to(REPOSITORY / "tests"):
        return None
    path = collection_path.relative_to(REPOSITORY).as_posix() + ("/" if collection_path.is_dir() else "")
    return True if _is_slow(path) else None


def _is_slow(path: str) -> bool:
    """Whether all tests below a path are slow."""
    return bool(SLOW_FOLDERS & {*path.split("/")}) or path.startswith(SLOW_MODULES)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects without the garbage collector: it takes a quarter of the time, and finds hardly anything. What is collected lives
    until the end, so later collections pass over it."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks slow tests. Where tests run in several processes, the longest groups come first."""
    for item in items:
        marked = any(item.get_closest_marker(name) for name in SLOW_MARKERS)
        if marked or _is_slow(item.nodeid.partition("::")[0]):
            item.add_marker(pytest.mark.slow)
    if "PYTEST_XDIST_WORKER" in os.environ:
        from tests.support.parallel import order_of

        items.sort(key=lambda item: order_of(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Modules stay together, and so do those that share a server."""
    from tests.support.parallel import GroupScheduling

    return GroupScheduling(config, log)


@dataclass(frozen=True)
class Served:
    """A model of the catalog with its real weights, its task and a runtime on the CPU."""

    card: Card
    task: object
    runtime: object
    network: object


@pytest.fixture(scope="session")
def zoo_home() -> Path:
    """Home of the real weights: `ZOO_TEST_HOME`, or `.cache/zoo-home` of the repository; kept between runs."""
    chosen = os.environ.get("ZOO_TEST_HOME")
    return Path(chosen) if chosen else REPOSITORY / ".cache" / "zoo-home"


@pytest.fixture(scope="session")
def served(zoo_home: Path) -> Callable[[str], Served]:
    """Name → the real model; fetched once, loaded once a session. Skips where it cannot be fetched."""
    kept: dict[str, Served] = {}

    def get(name: str) -> Served:
        if name not in kept:
            kept[name] = _load(name, zoo_home)
        return kept[name]

    return get


def _load(name: str, home: Path) -> Served:
    from model_zoo.catalog import Catalog
    from model_zoo.errors import SourceUnavailable
    from model_zoo.network import load_network
    from model_zoo.store import Store
    from service.runtime.network import NetworkRuntime
    from service.tasks.table import task_for

    card = Catalog.from_package().get(name)
    try:
        materialised = Store(home).materialise(card)
    except SourceUnavailable as error:
        if os.environ.get("ZOO_REQUIRE_COMPONENTS") == "1":
            raise
        pytest.skip(f"real weights: {error}")
    return Served(
        card,
        task_for(card, materialised),
        NetworkRuntime(load_network(card, materialised), "cpu"),
        load_network(card, materialised),
    )


@pytest.fixture
def examples() -> Path:
    """Real photos and real speech."""
    return REPOSITORY / "examples"


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No setting of Zoo comes from the machine that runs the tests."""
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        monkeypatch.delenv(name)
    return monkeypatch
