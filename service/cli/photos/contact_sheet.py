"""An HTML page with the photos that were found: one file that loads nothing from elsewhere and runs no script."""

from __future__ import annotations

import base64
import html
import io
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from service.cli.photos.errors import PhotosError
from service.cli.photos.ranking import Match

THUMBNAIL = 240
"""Longer side of a thumbnail, in pixels."""
_MOST_PIXELS = 200_000_000
"""Of a photo that is shown."""
_MOST_BYTES = 1 << 30
"""Of a file that is read for a thumbnail."""
_QUALITY = 80
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff; }}
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1.5rem; }}
figure {{ margin: 0; }}
img, .none {{ width: 100%; height: 240px; object-fit: contain; background: #f2f2f2; display: block; }}
.none {{ display: flex; align-items: center; justify-content: center; color: #777; }}
figcaption {{ overflow-wrap: anywhere; margin-top: .4rem; }}
.labels {{ color: #666; font-size: .85em; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
<main>
{figures}
</main>
</body>
</html>
"""
_FIGURE = """\
<figure>{picture}<figcaption><strong>{score}</strong> {name}
<div class="labels">{labels}</div></figcaption></figure>"""


def write_contact_sheet(file: Path, title: str, about: str, folder: Path, photos: Sequence[Match]) -> None:
    """Writes the page, whole or not at all. Raises OSError, and PhotosError where Pillow is not installed."""
    try:
        import PIL  # noqa: F401 - a client may be installed without it
    except ModuleNotFoundError:
        raise PhotosError("--html needs the package 'pillow', which the extra `server` of zoo-serving brings") from None
    page = contact_sheet(title, about, folder, photos)
    staged = file.with_name(f".{uuid.uuid4().hex}")
    try:
        staged.write_text(page, encoding="utf-8")
        os.replace(staged, file)  # noqa: PTH105  # it names the file in its error
    finally:
        staged.unlink(missing_ok=True)


def contact_sheet(title: str, about: str, folder: Path, photos: Sequence[Match]) -> str:
    """The page. Every text of it is escaped: names of files and of labels come from elsewhere."""
    figures = "\n".join(_figure(folder, match) for match in photos)
    return _PAGE.format(title=_escaped(title), about=_escaped(about), figures=figures)


def _figure(folder: Path, match: Match) -> str:
    picture = _thumbnail(folder / match.path)
    shown = (
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">'
        if picture
        else '<div class="none">cannot be shown</div>'
    )
    labels = ", ".join(f"{name} {score:.2f}" for name, score in match.labels)
    return _FIGURE.format(picture=shown, score=f"{match.score:.3f}", name=_escaped(match.name), labels=_escaped(labels))


def _escaped(text: str) -> str:
    """A text in HTML; what is no Unicode, from a name of a file, is replaced."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


def _thumbnail(path: Path) -> bytes:
    """A small upright JPEG; empty if the photo cannot be decoded."""
    from service.datasets.readers.media.images import load_image, to_rgb, upright_transpose

    try:
        with path.open("rb") as file:
            loaded = load_image(file.read(_MOST_BYTES), _MOST_PIXELS, THUMBNAIL)
        turn = upright_transpose(loaded.orientation)
        image = to_rgb(loaded.image if turn is None else loaded.image.transpose(turn))
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        written = io.BytesIO()
        image.save(written, "JPEG", quality=_QUALITY)
    except Exception:  # decoders raise nearly any exception; the photo may be gone by now
        return b""
    return written.getvalue()
