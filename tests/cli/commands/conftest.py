from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from service.client import Client, Job
from tests.support.fake_zoo.fine_tuning import BASE
from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.jpg").write_bytes(name.encode())
    return folder


@pytest.fixture
def jobs(zoo: FakeZoo) -> Iterator[list[Job]]:
    """Two queued jobs."""
    with Client(zoo.target) as client:
        yield [client.create_job(BASE, "d1", "pets", hyperparameters={"epochs": 3}) for _ in range(2)]
