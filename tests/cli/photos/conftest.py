from pathlib import Path

import pytest

from tests.support.photos.album import Album


@pytest.fixture
def album(tmp_path: Path) -> Album:
    """An empty folder, and a client of a server with a classifier."""
    return Album(tmp_path)
