"""`zoo photos index` and `zoo photos search` beside the fake server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from tests.support.fake_zoo.server import FakeZoo

Run = Callable[..., Result]


class Photos:
    """The command for one folder."""

    def __init__(self, run: Run, zoo: FakeZoo, folder: Path) -> None:
        self.folder = folder
        self._run, self._zoo = run, zoo

    def __call__(self, verb: str, *words: str) -> Result:
        home = {"ZOO_HOME": str(self.folder.parent / "home")}
        return self._run("photos", verb, str(self.folder), *words, "--server", self._zoo.target, env=home)

    def document(self, verb: str, *words: str) -> dict[str, Any]:
        done = self(verb, *words, "--json")
        assert done.exit_code == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document


@pytest.fixture
def photos(run: Run, zoo: FakeZoo, tmp_path: Path) -> Photos:
    """Two photos, and one that the server cannot read. Each has the label `cat` with 0.9 and `dog` with 0.5."""
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"one")
    (folder / "inner" / "b.png").write_bytes(b"two")
    (folder / "x.jpg").write_bytes(b"bad")
    (folder / "y.gif").write_bytes(b"")
    return Photos(run, zoo, folder)


def test_index_says_what_it_did_and_what_it_left_out(photos: Photos) -> None:
    done = photos("index")
    assert done.exit_code == 0, done.stderr
    assert "3 photos: 3 new, 0 changed, 0 removed" in done.stdout
    assert "labels: 2 photos by efficientnet_lite0, version 1; 3 sent now" in done.stdout
    assert "x.jpg: this is no image" in done.stderr
    assert "likeness: left out" in done.stderr
    assert "1 .gif" in done.stderr


def test_index_is_in_the_home_and_not_in_the_folder(photos: Photos) -> None:
    before = sorted(photos.folder.rglob("*"))
    document = photos.document("index")
    assert Path(document["index"]).is_relative_to(photos.folder.parent / "home" / "photos")
    assert sorted(photos.folder.rglob("*")) == before
    assert document["sent"] == {"labels": 3}
    assert document["unreadable"] == [{"photo": "x.jpg", "reason": "this is no image"}]
    assert photos.document("index")["sent"] == {"labels": 0}


def test_index_goes_where_the_option_says(photos: Photos) -> None:
    file = photos.folder.parent / "mine.sqlite3"
    photos.document("index", "--index", str(file))
    assert file.is_file()
    assert photos("search", "cat").exit_code == 1
    assert len(photos.document("search", "cat", "--index", str(file))["photos"]) == 2


def test_search_prints_a_table_and_a_document(photos: Photos, nowhere: str) -> None:
    photos("index")
    done = photos("search", "cats")
    assert done.exit_code == 0, done.stderr
    assert str(photos.folder / "inner" / "b.png") in done.stdout
    document = photos.document("search", "cat", "--top", "1")
    assert document["by"] == "labels"
    [found] = document["photos"]
    assert found["score"] == pytest.approx(0.9)
    assert found["labels"] == [{"name": "cat", "score": pytest.approx(0.9)}]
    assert Path(found["path"]).is_file()


def test_search_writes_a_contact_sheet(photos: Photos) -> None:
    photos("index")
    sheet = photos.folder.parent / "sheet.html"
    assert photos("search", "cat", "--html", str(sheet)).exit_code == 0
    assert "inner/b.png" in sheet.read_text()


def test_search_without_a_match_says_so(photos: Photos) -> None:
    photos("index")
    done = photos("search", "cat", "--threshold", "0.95")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no photo fits 'cat'" in done.stderr


def test_unknown_word_is_one_sentence(photos: Photos) -> None:
    photos("index")
    done = photos("search", "cta")
    assert done.exit_code == 1
    assert "no label of the index has the word 'cta'; similar words that are known: cat" in done.stderr


@pytest.mark.parametrize(
    "line",
    [(), ("cat", "--like", "a.jpg"), ("--like", "a.jpg", "--free-words"), ("cat", "--threshold", "nan"), (" ",)],
    ids=" ".join,
)
def test_search_for_nothing_or_for_two_things_is_misused(photos: Photos, line: tuple[str, ...]) -> None:
    assert photos("search", *line).exit_code == 2


@pytest.mark.parametrize("size", ["0", "2G", "large"])
def test_size_limit_must_be_a_number_of_bytes(photos: Photos, size: str) -> None:
    assert photos("index", "--max-size", size).exit_code == 2


def test_folder_must_be_one(run: Run, zoo: FakeZoo, photos: Photos) -> None:
    for folder, code in (("", 2), (str(photos.folder / "none"), 1), (str(photos.folder / "a.jpg"), 1)):
        done = run("photos", "index", folder, "--server", zoo.target)
        assert done.exit_code == code
        assert "Traceback" not in done.stderr


def test_lost_server_keeps_what_was_answered(photos: Photos, zoo: FakeZoo) -> None:
    zoo.prediction.break_streams_after.append(2)
    done = photos("index")
    assert done.exit_code == 1
    assert "the same command continues" in done.stderr
    assert photos.document("index")["answered"] == {"labels": 2}
    assert 0 < len(zoo.calls["StreamPredict.request"]) <= 4


def test_photo_beyond_the_limits_of_a_token_is_sent_once_permitted(photos: Photos, zoo: FakeZoo) -> None:
    zoo.prediction.rate_limited = 1
    assert photos.document("index")["answered"] == {"labels": 2}
