"""Words for the 1,000 classes of ImageNet → service/cli/photos/imagenet_kinds.tsv, with WordNet's licence beside it.

    python scripts/imagenet_kinds.py                       # fetches the Debian package wordnet-base, unless it is installed
    python scripts/imagenet_kinds.py --wordnet FOLDER      # data.noun and noun.exc are in this folder
    python scripts/imagenet_kinds.py --out FOLDER

Sources: `data.noun` and `noun.exc` of WordNet 3.0 (Debian wordnet-base 1:3.0-37), and the synset of each class from timm
(`imagenet_synsets.txt`). Their digests are checked, so that the table can be made again to the byte.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "service" / "cli" / "photos"
TABLE, LICENCE = "imagenet_kinds.tsv", "WORDNET-LICENSE.txt"
PACKAGE, INSIDE = "wordnet-base", "usr/share/wordnet"
SHA256 = {
    "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
    "noun.exc": "2b5d675c380b39ecf595af9fa9d4e7feb1d58c643b0bff08c40ed5bfe41fab7a",
    "imagenet_synsets.txt": "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15",
}
SAYS_NOTHING = frozenset(
    {
        "entity",
        "physical entity",
        "abstraction",
        "thing",
        "object",
        "whole",
        "matter",
        "causal agent",
        "relation",
        "group",
        "attribute",
        "measure",
        "psychological feature",
    }
)
"""First words of synsets that nobody looks for: nearly every class is one of them, or they are terms of WordNet alone."""
ALSO = {"04019101": "04524313"}
"""WordNet has public transport (buses, trains) beside vehicles, not among them; here it is a kind of vehicle as well."""
HEAD = """\
# Words for the 1,000 classes of ImageNet: written by scripts/imagenet_kinds.py, not to be edited.
# A line is a synset of WordNet 3.0: its words, and the numbers of the lines (from 0) that it is a kind of
# (beside WordNet: public transport is a kind of vehicle).
# The first 1,000 are the classes in order. After a blank line: irregular plurals, and their singulars.
# WordNet 3.0 Copyright 2006 by Princeton University. All rights reserved. Licence: WORDNET-LICENSE.txt.
"""


@dataclass(frozen=True, slots=True)
class Synset:
    """A line of data.noun."""

    words: tuple[str, ...]
    hypernyms: tuple[str, ...]
    """Synsets that it is a kind of, or an instance of: offsets of eight digits."""


def read_synsets(text: str) -> dict[str, Synset]:
    """Offset → synset (wndb(5WN))."""
    found = {}
    for line in text.splitlines():
        if line.startswith(" "):  # the licence
            continue
        fields = line.partition(" | ")[0].split(" ")
        count = int(fields[3], 16)
        words = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(count))
        pointers = fields[5 + 2 * count :]
        above = [pointers[i + 1] for i in range(0, len(pointers) - 3, 4) if pointers[i] in ("@", "@i")]
        above += [ALSO[fields[0]]] if fields[0] in ALSO else []
        found[fields[0]] = Synset(words, tuple(above))
    return found


def table(synsets: Mapping[str, Synset], classes: list[str], exceptions: str) -> str:
    """The packaged file."""
    order = list(dict.fromkeys(classes))
    for offset in order:  # grows: each kind follows the kinds of it
        order += [above for above in synsets[offset].hypernyms if above not in order and says_something(synsets[above])]
    number = {offset: i for i, offset in enumerate(order)}
    lines = []
    for offset in order:
        above = [str(number[one]) for one in synsets[offset].hypernyms if one in number]
        lines.append(f"{', '.join(synsets[offset].words)}\t{' '.join(above)}\n")
    known = {word.casefold() for offset in order for word in synsets[offset].words}
    known |= {word.rpartition(" ")[2] for word in known}
    plurals = sorted({tuple(line.replace("_", " ").split(" ")) for line in exceptions.splitlines()})
    irregular = [f"{pair[0]}\t{pair[1]}\n" for pair in plurals if len(pair) == 2 and pair[1] in known]
    return HEAD + "".join(lines) + "\n" + "".join(irregular)


def says_something(synset: Synset) -> bool:
    """Whether anybody would look for photos of such a kind."""
    return synset.words[0] not in SAYS_NOTHING


def licence(text: str) -> str:
    """The licence at the head of data.noun, without the numbers of its lines."""
    lines = [re.sub(r"^  ?\d+ ?", "", line).rstrip() for line in text.splitlines() if line.startswith(" ")]
    return "\n".join(lines).strip() + "\n"


def checked(path: Path) -> str:
    """A source as text. Exits for another one than that of the table."""
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[path.name]:
        raise SystemExit(f"{path.name} has the sha256 {digest}; expected {SHA256[path.name]}")
    return data.decode()


@contextmanager
def wordnet(given: Path | None) -> Iterator[Path]:
    """The folder with WordNet's files: the given one, that of the installed package, or of one that is fetched."""
    if given is not None or (Path("/") / INSIDE).is_dir():
        yield given or Path("/") / INSIDE
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SystemExit(f"this needs the Debian package {PACKAGE}, and there is no apt here to fetch it with")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "download", "-qq", PACKAGE], cwd=folder, check=True)
        (archive,) = Path(folder).glob(f"{PACKAGE}_*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, "."], cwd=folder, check=True)
        yield Path(folder) / INSIDE


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write the words for ImageNet's classes from WordNet.")
    parser.add_argument("--wordnet", type=Path, help="folder with data.noun and noun.exc")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the table (default: its place in the package)")
    given = parser.parse_args()
    names = checked(Path(str(files("timm.data") / "_info" / "imagenet_synsets.txt"))).split()
    with wordnet(given.wordnet) as folder:
        nouns, exceptions = checked(folder / "data.noun"), checked(folder / "noun.exc")
    (given.out / TABLE).write_text(table(read_synsets(nouns), [name[1:] for name in names], exceptions), "utf-8")
    (given.out / LICENCE).write_text(licence(nouns), "utf-8")


if __name__ == "__main__":
    main()
