from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client, Retry
from service.client.upload import CHUNK
from tests.support.fake_zoo.server import FakeZoo

SHORT_PAUSES = Retry(initial_backoff_s=0.01, max_backoff_s=0.02)


@pytest.fixture
def zoo() -> Iterator[FakeZoo]:
    """A server that answers at `zoo.target`."""
    fake = FakeZoo()
    fake.start()
    yield fake
    fake.stop()


@pytest.fixture
def retry() -> Retry:
    """The default number of attempts, with short pauses."""
    return SHORT_PAUSES


@pytest.fixture
def client(zoo: FakeZoo) -> Iterator[Client]:
    with Client(zoo.target, retry=SHORT_PAUSES) as made:
        yield made


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of classes whose archive takes several messages."""
    folder = tmp_path / "photos"
    for name, filler in (("cat", b"c"), ("dog", b"d")):
        (folder / name).mkdir(parents=True)
        for i in range(2):
            (folder / name / f"{i}.jpg").write_bytes(filler * (CHUNK + i))
    (folder / ".DS_Store").write_bytes(b"x")
    return folder
