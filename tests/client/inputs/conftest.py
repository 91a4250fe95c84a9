import pytest

from tests.support.cli_server import FakeZoo, add_structured


@pytest.fixture
def zoo(zoo: FakeZoo) -> FakeZoo:
    """The server with further models: `flats` takes rows, `sales` series, `homes` records."""
    add_structured(zoo)
    return zoo
