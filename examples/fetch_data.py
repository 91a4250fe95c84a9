"""Real data for fine-tuning: `python examples/fetch_data.py` makes these files in `data/`:

    photos/     a folder of images for each of eight classes (birds, coins, flowers …): Tux Paint's photo stamps
    topics.csv  texts and their topic, ten topics: the collection of the program `fortune`
    moods.csv   texts and their style: science, songs and poems, Star Trek, and Zippy the Pinhead
    voices/     a folder of spoken words for each of six narrators: Tux Paint's stamps say their names in many languages

The data is from two Debian packages (GPL-2 and mixed licences: for trials, not for redistribution). If they are not installed
and apt exists, their archives are fetched and unpacked in `data/`; nothing is installed.
"""

from __future__ import annotations

import csv
import io
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
DATA = HERE.parent / "data"

STAMPS, FORTUNES = ("tuxpaint-stamps-default", "usr/share/tuxpaint/stamps"), ("fortunes", "usr/share/games/fortunes")
CLASSES = {
    "birds": "animals/birds",
    "clothes": "clothes",
    "coins": "symbols/money",
    "flowers": "plants/flowers",
    "fruit": "food/fruit",
    "mammals": "animals/mammals",
    "tools": "household/tools",
    "vehicles": "vehicles",
}
NO_PHOTO = ("cartoon", "toys", "_mirror", "_flip")
"""Parts of the paths of drawings, toys and duplicate images."""
TOPICS = ("computers", "food", "law", "love", "medicine", "politics", "science", "songs-poems", "sports", "startrek")
MOODS = ("science", "songs-poems", "startrek", "zippy")
NARRATORS = ("be", "bg", "ca", "es", "fr", "ru")
MOST = 200
"""Texts of a topic, so that the topics are balanced."""
WORDS = 40
"""Words of a narrator."""


def folder_of(package: str, inside: str) -> Path:
    """The files of a package: installed, or unpacked in `data/`."""
    installed = Path("/") / inside
    if installed.is_dir():
        return installed
    unpacked = DATA / "packages"
    if not (unpacked / inside).is_dir():
        if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
            raise SystemExit(f"this needs the Debian package {package}, and there is no apt here to fetch it with")
        unpacked.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", package], cwd=unpacked, check=True)
        (archive,) = unpacked.glob(f"{package}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, "."], cwd=unpacked, check=True)
        archive.unlink()
    return unpacked / inside


def make_photos() -> Path:
    """A folder of images for each class, without drawings and toys."""
    stamps, target = folder_of(*STAMPS), DATA / "photos"
    if target.is_dir():
        return target
    staged = target.with_name("photos.draft")
    shutil.rmtree(staged, ignore_errors=True)
    for name, inside in CLASSES.items():
        folder = staged / name
        folder.mkdir(parents=True)
        for picture in sorted((stamps / inside).rglob("*.png")):
            if not any(word in str(picture) for word in NO_PHOTO):
                shutil.copyfile(picture, folder / picture.name)
    return staged.rename(target)


def texts_of(topic: str) -> list[str]:
    """The texts of one topic, without duplicates."""
    whole = (folder_of(*FORTUNES) / topic).read_text(encoding="utf-8", errors="replace")
    return list(dict.fromkeys(text.strip() for text in whole.split("\n%\n") if text.strip()))


def make_texts(name: str, topics: tuple[str, ...]) -> Path:
    """A CSV with the columns `text` and `topic`."""
    target = DATA / name
    if not target.is_file():
        table = io.StringIO()
        writer = csv.writer(table)
        writer.writerow(["text", "topic"])
        for topic in topics:
            texts = texts_of(topic)
            chosen = random.Random(0).sample(texts, min(MOST, len(texts)))
            writer.writerows([text, topic] for text in chosen)
        DATA.mkdir(exist_ok=True)
        target.write_text(table.getvalue(), encoding="utf-8", newline="")
    return target


def spoken(stamps: Path, narrator: str) -> Iterator[Path]:
    """Descriptions that one narrator reads, in random order."""
    found = sorted(stamps.rglob(f"*_desc_{narrator}.ogg"))
    random.Random(0).shuffle(found)
    return iter(found[:WORDS])


def make_voices() -> Path:
    """A folder of sounds for each narrator."""
    stamps, target = folder_of(*STAMPS), DATA / "voices"
    if target.is_dir():
        return target
    staged = target.with_name("voices.draft")
    shutil.rmtree(staged, ignore_errors=True)
    for narrator in NARRATORS:
        (staged / narrator).mkdir(parents=True)
        for sound in spoken(stamps, narrator):
            shutil.copyfile(sound, staged / narrator / sound.name)
    return staged.rename(target)


def main() -> None:
    """Make all four and print their paths."""
    for made in (make_photos(), make_texts("topics.csv", TOPICS), make_texts("moods.csv", MOODS), make_voices()):
        sys.stdout.write(f"{made.relative_to(Path.cwd()) if made.is_relative_to(Path.cwd()) else made}\n")


if __name__ == "__main__":
    main()
