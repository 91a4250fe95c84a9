from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest

from service.client import Client, Retry

# The fake server lives with the command's tests. Found beside this package, whatever the folder above it is called.
from tests.support import cli_server as fakes

tuning_fakes = import_module("tests.support.cli_fine_tuning")

QUICK = Retry(initial_backoff_s=0.01, max_backoff_s=0.02)


@pytest.fixture
def zoo() -> Iterator[Any]:
    """A FakeZoo that answers at `zoo.target`."""
    fake = fakes.FakeZoo()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def retry() -> Retry:
    """As many retries as in real life, without the pauses."""
    return QUICK


@pytest.fixture
def client(zoo: Any) -> Iterator[Client]:
    with Client(zoo.target, retry=QUICK) as made:
        yield made


@pytest.fixture
def script() -> Callable[[str], Any]:
    """What happens to a job, by name: WELL or BADLY."""
    return lambda name: getattr(tuning_fakes, name)
