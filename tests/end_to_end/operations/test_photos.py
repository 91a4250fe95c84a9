"""Photos of a folder are indexed by the real models, and found by words and by likeness."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.client import Client
from tests.support.end_to_end.server_process import EXAMPLES, TIMEOUT_S, ServerProcess

EMBEDDER = "mobilenetv2_100"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three photos, and one that is none."""
    made = tmp_path / "photos"
    (made / "space").mkdir(parents=True)
    shutil.copy(EXAMPLES / "cat.jpg", made / "cat.jpg")
    shutil.copy(EXAMPLES / "coffee.jpg", made / "coffee.jpg")
    shutil.copy(EXAMPLES / "rocket.jpg", made / "space" / "rocket.jpg")
    (made / "damaged.jpg").write_bytes((EXAMPLES / "cat.jpg").read_bytes()[:2000])
    return made


@pytest.fixture
def embedder(server: ServerProcess) -> Iterator[None]:
    """The model of embeddings is served, and away again for the other tests."""
    with Client(server.target) as client:
        client.load(EMBEDDER, timeout=TIMEOUT_S)
        yield
        client.unload(EMBEDDER, timeout=TIMEOUT_S)


def zoo(server: ServerProcess, folder: Path, verb: str, *words: str) -> dict[str, Any]:
    index = ("--index", str(folder.parent / "index.sqlite3"))
    line = ["photos", verb, str(folder), *words, *index, "--json", "--server", server.target]
    done = CliRunner().invoke(app, line)  # in this process: a new one for each command takes seconds
    assert done.exit_code == 0, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.usefixtures("embedder")
def test_photos_are_found_by_kinds_and_by_likeness_and_sent_once(server: ServerProcess, folder: Path) -> None:
    first = zoo(server, folder, "index")
    assert first["sent"] == {"labels": 4, "likeness": 4}
    assert first["answered"] == {"labels": 3, "likeness": 3}
    assert [one["photo"] for one in first["unreadable"]] == ["damaged.jpg"]
    for word, found in (
        ("cat", "cat.jpg"),
        ("animals", "cat.jpg"),
        ("coffee", "coffee.jpg"),
        ("rocket", "space/rocket.jpg"),
    ):
        document = zoo(server, folder, "search", word)
        assert document["photos"][0]["photo"] == found
        assert document["score"] == "probability"
    assert [one["photo"] for one in zoo(server, folder, "search", "cat")["photos"]] == ["cat.jpg"]
    (folder.parent / "other.jpg").write_bytes(
        (EXAMPLES / "cat.jpg").read_bytes() + b"\n"
    )  # other bytes, the same pixels
    like = zoo(server, folder, "search", "--like", str(folder.parent / "other.jpg"))
    assert like["photos"][0]["photo"] == "cat.jpg"
    assert like["photos"][0]["score"] == pytest.approx(1, abs=0.01)
    again = zoo(server, folder, "index")
    assert (again["sent"], again["new"], again["changed"]) == ({"labels": 0, "likeness": 0}, 0, 0)
