"""A home with tiny networks that were pulled, for tests that do not import Zoo: `python -m tests.support.end_to_end.pulled_home
FOLDER NAME…` writes their repositories and the home into a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from unittest import mock

from model_zoo.references.reference import parse_reference
from service.references.library_answers import answer
from service.references.pull import pull_reference
from tests.support.references.tiny_image_text import clip

MAKERS: Mapping[str, Callable[[Path], Path]] = {"tiny_clip": clip}


def main(folder: Path, names: Sequence[str]) -> None:
    """Pulls in this process; the library's own one takes ten seconds for each network."""
    for name in names:
        (folder / name).mkdir(parents=True)
        MAKERS[name](folder / name)
        with mock.patch("service.references.pull.library_answers", lambda _, asked: answer(asked)):
            pull_reference(parse_reference(f"local:{folder / name}"), folder / "home")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
