"""The page of a search: whole, self-contained, and safe whatever the names of the files are."""

from __future__ import annotations

import base64
import io
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from service.cli.photos.contact_sheet import THUMBNAIL, contact_sheet, write_contact_sheet
from service.cli.photos.ranking import Match
from tests.support.paths import EXAMPLES

EVIL = "<img src=x onerror=alert(1)>.jpg"


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


def match(name: str, label: str = "cat") -> Match:
    return Match(name, Path(name), 0.5, ((label, 0.5),))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / EVIL)
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    return tmp_path


def test_every_text_is_escaped(folder: Path) -> None:
    page = contact_sheet("<b>", "&", folder, [match(EVIL, "<script>alert(1)</script>")])
    tags = Tags(page).found
    assert [tag for tag, _ in tags if tag in ("script", "b")] == []
    [image] = [attributes for tag, attributes in tags if tag == "img"]
    assert set(image) == {"alt", "src"}
    assert "&lt;img src=x onerror=alert(1)&gt;.jpg" in page


def test_page_loads_nothing_from_elsewhere(folder: Path) -> None:
    page = contact_sheet("cat", "1 photo", folder, [match(EVIL)])
    assert "default-src 'none'" in page
    sources = [value for _, attributes in Tags(page).found for value in attributes.values() if value and ":" in value]
    assert [source for source in sources if source.startswith(("http", "//", "file"))] == []


def test_thumbnail_is_small_and_upright(folder: Path) -> None:
    turned = Image.new("RGB", (600, 300), "red")
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    page = contact_sheet("cat", "", folder, [match("turned.jpg")])
    [data] = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (THUMBNAIL // 2, THUMBNAIL)


def test_photo_that_cannot_be_shown_has_a_place(folder: Path) -> None:
    page = contact_sheet("cat", "", folder, [match("bad.jpg"), match("gone.jpg")])
    assert page.count("cannot be shown") == 2


def test_page_is_written_whole_over_an_earlier_one(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "sheet.html"
    for title in ("first", "second"):
        write_contact_sheet(file, title, "", folder, [match(os.fsdecode(b"\xff.jpg"))])
    assert "<title>second</title>" in file.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_page_in_a_folder_that_is_not_there_is_an_error_with_its_name(folder: Path) -> None:
    with pytest.raises(OSError, match="none") as error:
        write_contact_sheet(folder / "none" / "sheet.html", "", "", folder, [])
    assert error.value.filename is not None
