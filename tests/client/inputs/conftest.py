import pytest

from tests.support.fake_zoo.models import add_structured
from tests.support.fake_zoo.server import FakeZoo


@pytest.fixture
def zoo(zoo: FakeZoo) -> FakeZoo:
    """The server with further models: `flats` takes rows, `sales` series, `homes` records."""
    add_structured(zoo.model_service)
    return zoo
