"""Fixtures for the methods on a port."""

from collections.abc import Iterator

import pytest

from tests.support.wire import frontends


@pytest.fixture(params=["auto", "aio"])
def each_frontend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test twice: its inference methods are served by the frontend, and by grpc.aio."""
    token = frontends.chosen.set(request.param)
    yield request.param
    frontends.chosen.reset(token)
