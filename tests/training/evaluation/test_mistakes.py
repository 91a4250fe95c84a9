"""Previews of the inputs of the worst mistakes."""

import io

from PIL import Image

from service.training.evaluation.mistakes import preview
from service.types import ImageInstance, RowInstance, TextInstance


def test_previews_are_short_texts_and_thumbnails() -> None:
    text, picture = preview(TextInstance(("long " * 500).encode()))
    assert len(text) == 400
    assert text.endswith("…")
    assert picture == b""
    large = io.BytesIO()
    Image.new("RGB", (2000, 1000)).save(large, "PNG")
    _, picture = preview(ImageInstance(large.getvalue()))
    assert Image.open(io.BytesIO(picture)).size == (160, 80)
    assert preview(ImageInstance(b"no picture")) == ("", b"")
    assert preview(RowInstance({"rooms": 3.0, "town": None})) == ("rooms: 3.0, town: ", b"")
